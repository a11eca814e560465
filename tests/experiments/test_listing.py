"""``ppvae list``: every group and choice, each with a line about it, and near neighbours of what is neither."""

import pytest

from experiments.listing import CONF, SECTIONS, choices, names, print_list
from experiments.sweeps.page import METRICS, labels_of
from ppvae import UserError

GROUPS = [group for groups in SECTIONS.values() for group in groups]


def test_the_sections_have_every_group_of_the_configuration_once():
    folders = {str(path.parent.relative_to(CONF)) for path in CONF.glob("*/**/*.yaml")}
    assert sorted(GROUPS) == sorted(folders)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_listed_with_a_line_about_each_choice(group, capsys):
    print_list([group])
    title, *lines, command = capsys.readouterr().out.splitlines()
    assert title.startswith(f"{group}: ")
    assert [line.split()[0] for line in lines] == choices(group)
    assert all(len(line.split()) > 3 for line in lines), lines
    assert command == f"ppvae train {group}=CHOICE"


def test_every_metric_of_a_sweep_is_listed_with_what_it_is_called(capsys):
    print_list(["metrics"])
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert "sweep.metrics" in first
    assert [line.split()[0] for line in lines] == list(METRICS)
    assert all(
        line.split(maxsplit=1)[1] == label for line, label in zip(lines, labels_of(METRICS).values(), strict=True)
    )
    assert last.startswith("ppvae train --multirun sweep.metrics=[")


def test_all_is_listed_without_words(capsys):
    print_list([])
    said = capsys.readouterr().out
    assert all(f"  {group}: " in said for group in GROUPS)
    assert "normal_gamma, spike_and_slab" in said


@pytest.mark.parametrize(
    ("group", "usual"),
    [("prior", "normal_gamma unless"), ("trainer/stopping", "plateau unless"), ("annealing", "none unless")],
)
def test_a_group_says_which_choice_stands(group, usual, capsys):
    print_list([group])
    assert usual in capsys.readouterr().out.splitlines()[0]


def test_a_choice_is_told_with_the_groups_that_have_it(capsys):
    print_list(["grey"])
    assert {line.split(":")[0] for line in capsys.readouterr().out.splitlines()} == {"condition=grey", "auxiliary=grey"}


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("priro", "there is no group or choice priro; did you mean prior?"),
        ("normal_gama", "there is no group or choice normal_gama; did you mean normal_gamma?"),
        ("zzz", "there is no group or choice zzz; ppvae list lists them"),
    ],
)
def test_another_word_is_told_with_its_near_neighbour(word, line):
    with pytest.raises(UserError) as error:
        print_list([word])
    assert str(error.value) == line


def test_a_shell_is_offered_groups_once():
    assert names([]) == [*GROUPS, "metrics"]
    assert names(["prior"]) == []
