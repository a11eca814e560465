"""What a misspelt key was meant to be."""

import hydra
import pytest
from hydra.errors import MissingConfigException

from experiments.suggestions import as_it_stands, parsed, unknown_choice, unknown_key


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("prio", "there is no key prio; did you mean prior?"),
        ("experimnt", "there is no key experimnt; did you mean experiment?"),
        ("objective.bet", "there is no key objective.bet; did you mean objective.beta?"),
        ("network.encoder.hiden", "there is no key network.encoder.hiden; did you mean network.encoder.hidden?"),
        (
            "prior.colour",
            "there is no key prior.colour; prior has _target_, latents; +prior.colour=… gives another to what it names",
        ),
        ("latents.few", "latents has no keys; latents.few was given"),
        ("zzz", "there is no key zzz; --help lists the groups and keys"),
        ("prior", None),
        ("trainer.stopping.window", None),
        ("seeds", None),
    ],
)
def test_an_unknown_key_is_told_with_its_near_neighbour(key, line):
    configuration = hydra.compose("config", ["network=mlp", "prior=normal", "guide=mean_field"])
    assert unknown_key(key, configuration, ["seeds", "experiment"]) == line


def test_what_stands_is_what_the_groups_say():
    standing = as_it_stands(parsed(["prior=student_t", "latents=3", "~annealing", "trainer.epochs=1"]))
    assert standing.prior._target_.endswith("StudentTPrior")
    assert (standing.latents, standing.trainer.epochs) == (15, 20)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("prior=vmap", "there is no prior=vmap; did you mean prior=vamp?"),
        ("trainer/stopping=patient", "there is no trainer/stopping=patient; did you mean trainer/stopping=patience?"),
        ("prior=zzz", None),
    ],
)
def test_an_unknown_choice_is_told_with_its_near_neighbour(word, line):
    with pytest.raises(MissingConfigException) as error:
        hydra.compose("config", [word])
    assert unknown_choice(error.value) == line


def test_other_errors_are_of_no_choice():
    assert unknown_choice(ValueError("prior")) is None
