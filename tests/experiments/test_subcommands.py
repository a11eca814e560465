"""The command ``ppvae``: its subcommands, its help and what it says of words that are none."""

import os
import subprocess
import sys

import pytest

from experiments import command, subcommands
from experiments.own_names import named
from experiments.subcommands import SUBCOMMANDS, main, nearest


@pytest.fixture
def ppvae(monkeypatch, capsys):
    """``ppvae WORDS`` in this process: its exit code, and what it said on stdout and stderr."""
    monkeypatch.setattr(subcommands, "obey_signals", lambda: None)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ppvae", *words])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_is_there_and_told(name, ppvae):
    assert callable(named(SUBCOMMANDS[name].function))
    code, said, _ = ppvae("--help")
    assert code == 0
    assert f"  {name} {SUBCOMMANDS[name].words}" in said
    assert SUBCOMMANDS[name].does in said


def test_no_word_asks_for_help(ppvae):
    assert ppvae() == ppvae("--help") == ppvae("-h") == ppvae("help")


def test_the_help_fits_a_terminal(ppvae):
    assert max(map(len, ppvae("--help")[1].splitlines())) <= 100


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("trian", "error: there is no command trian; did you mean train?\n"),
        ("prior=normal", "error: there is no command prior=normal; did you mean ppvae train prior=normal?\n"),
        ("zzz", "error: there is no command zzz; ppvae --help lists them\n"),
        ("--verzion", "error: there is no command --verzion; ppvae --help lists them\n"),
    ],
)
def test_another_word_ends_in_one_line(word, line, ppvae):
    assert ppvae(word) == (2, "", line)


def test_the_version_is_the_package_s(ppvae):
    import ppvae as package

    assert ppvae("--version")[1] == f"ppvae {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["train", "prior=normal", "seed=1"], ["prior=normal", "seed=1"]),
        (["demo", "seed=1"], ["experiment=demo", "seed=1"]),
    ],
)
def test_a_training_takes_the_words_behind_it(words, given, ppvae, monkeypatch):
    taken = []
    monkeypatch.setattr(command, "command_line", lambda: taken.extend(sys.argv[1:]))
    assert ppvae(*words)[0] == 0
    assert taken == given


def test_a_reader_that_has_enough_ends_it_in_silence():
    script = "import sys; sys.stdin.read(); sys.argv[1:] = ['list']; from ppvae.__main__ import main; main()"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        process.stdout.close()
        process.stdin.close()  # now it may begin
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_the_nearest_name_is_told():
    assert nearest("lst", ["list", "train"], "nothing") == "did you mean list?"
    assert nearest("lst", ["train"], "nothing") == "nothing"


# Completion


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ppvae ", list(SUBCOMMANDS)),
        ("ppvae tr", list(SUBCOMMANDS)),
        ("ppvae list pri", ["data", "prior", "likelihood"]),
        ("ppvae list prior ", []),
        ("ppvae nothing ", []),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_is_offered_subcommands_and_groups(line, offered, shell, ppvae, monkeypatch):
    monkeypatch.setenv("COMP_LINE", line)
    code, said, _ = ppvae("-sc", f"query={shell}")
    assert code == 0
    assert said.split()[: len(offered)] == offered
    assert bool(said.split()) == bool(offered)
    assert ("\n" in said.strip()) == (shell == "fish" and len(offered) > 1)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("ppvae train prior=va", "ppvae prior=va"),
        ("/bin/ppvae  demo  train", "ppvae train"),
        ("/home/train/ppvae train prior=va", "ppvae prior=va"),
        ("ppvae train prior=vamp ", "ppvae prior=vamp "),
        ("ppvae train ", "ppvae "),
    ],
)
def test_hydra_completes_a_training(line, asked, ppvae, monkeypatch):
    taken = []
    monkeypatch.setattr(command, "command_line", lambda: taken.extend([os.environ["COMP_LINE"], *sys.argv[1:]]))
    monkeypatch.setenv("COMP_LINE", line)
    ppvae("-sc", "query=bash")
    assert taken == [asked, "--shell-completion", "query=bash"]


def test_hydra_s_script_is_what_a_shell_installs(ppvae, monkeypatch):
    taken = []
    monkeypatch.setattr(command, "command_line", lambda: taken.extend(sys.argv[1:]))
    ppvae("--shell-completion", "install=bash")
    assert taken == ["--shell-completion", "install=bash"]
