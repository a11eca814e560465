"""What is said of a configuration before anything is built from it."""

import hydra
import pytest
from omegaconf import DictConfig

from experiments.checks import check_settings
from ppvae.errors import UserError


def checked(*words: str) -> DictConfig:
    configuration = hydra.compose("config", list(words))
    check_settings(configuration, list(words))
    return configuration


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["~prior"], r"^prior=null: expected a choice, .*normal_gamma"),
        (["~trainer"], "^trainer=null: expected a choice, default"),
        (["~held_out"], "^held_out=null: expected its keys"),
        (["prior=[normal,student_t]"], r"^prior=\[normal,student_t\]: expected one choice of prior"),
        (["posterior=3"], "^posterior=3: expected its keys"),
        (["prior._target_=null"], "^prior._target_=null: expected the import path"),
        (["data._target_=3"], "^data._target_=3: expected the import path"),
        (["job=null"], "^job=null: expected the import path of a function"),
        (["+prio=normal"], r"^there is no key prio; did you mean prior\?"),
        (["++traner.epochs=3"], r"^there is no key traner; did you mean trainer\?"),
        (["+trainer.epoch=3"], r"^there is no key trainer.epoch; did you mean trainer.epochs\?"),
        (["latents=few"], "^latents=few: expected a number, such as 15$"),
        (["latents='\"15\"'"], '^latents="15": expected a number, such as 15'),
        (["latents=1.5"], "^latents=1.5: expected a whole number"),
        (["latents=true"], "^latents=True: expected a number"),
        (["seed=-1"], "^seed=-1: expected a whole number of at least 0"),
        (["seed=18446744073709551616"], "^seed=18446744073709551616: expected a whole number below"),
        (["likelihood.scale=nan"], "^likelihood.scale=nan: expected a number"),
        (["objective.estimator=[a]"], "^objective.estimator=.*expected a word, such as auto"),
        (["data.hue=0.5"], "^data.hue=0.5: expected a list"),
        (["trainer.stopping=3"], "^trainer.stopping=3: expected the keys .*window"),
        (["trainer.compile=maybe"], "^trainer.compile=maybe: expected true or false, yes or no, on or off"),
        (["trainer.epochs=null"], "^trainer.epochs=None: expected a whole number of at least 1"),
        (["trainer.accelerator=warp"], "^trainer.accelerator='warp': expected one of auto, gpu, .*cpu"),
        (["trainer.accelerator=tpu"], "^trainer.accelerator=tpu: this machine has none"),
        (["trainer.devices=100000"], "^trainer.devices=100000: expected at most"),
        (
            ["trainer.execution=captured", "trainer.compile=no"],
            "^trainer.execution=captured with",
        ),
        (["name=3"], "^name=3: expected a word"),
        (["name=a/../../b"], "^name=a/../../b: expected a folder below runs"),
    ],
)
def test_what_cannot_be_meant_is_one_line_that_names_the_key(words, line):
    with pytest.raises(UserError, match=line) as raised:
        checked(*words)
    assert len(str(raised.value)) < 400
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("word", "value"), [("no", False), ("Off", False), ("yes", True), ("0", False), ("true", True)]
)
def test_words_for_switches_are_read(word, value):
    assert checked(f"trainer.compile={word}").trainer.compile is value


@pytest.mark.parametrize(
    "words",
    [
        ["seed=4294967296"],
        ["seed=18446744073709551615"],
        ["objective.beta=null", "trainer.stopping=null", "data.hue=[0,1]"],
        ["likelihood.scale=1", "trainer.batch_size=1000000000"],
        ["name='\"3\"'"],
        ["experiment=ngvae_table1", "+metrics=[elbo]", "~models.vanilla"],
        ["+guide.anything=3"],  # its constructor knows
        ["job=my.own.job", "+threshold=3"],
    ],
)
def test_what_can_be_meant_is_left_alone(words):
    checked(*words)
