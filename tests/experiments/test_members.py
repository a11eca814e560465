"""What becomes of a member, kept in its folder whatever happens."""

import os
import signal
from dataclasses import replace

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from experiments import members
from experiments.members import Outcome, attempt, outcome_of
from ppvae import UserError

NOTHING = OmegaConf.create({"seed": 0})


@pytest.fixture
def here() -> None:
    """As under launcher=basic."""
    HydraConfig.instance().set_config(hydra.compose("config", ["launcher=basic"], return_hydra_config=True))


def works(monkeypatch, work) -> str:
    """The name of ``work`` at a place that can be imported."""
    monkeypatch.setattr(members, "work_of_a_test", work, raising=False)
    return "experiments.members.work_of_a_test"


@pytest.mark.usefixtures("here")
def test_outcomes_are_kept_in_the_members_folder(tmp_path, monkeypatch, capsys):
    def mistaken(*_):
        raise UserError("beta=-1: expected more")

    def broken(*_):
        raise ZeroDivisionError("a\nb")

    for name, work, state, error in (
        ("good", lambda *_: None, "done", ""),
        ("mistaken", mistaken, "failed", "beta=-1: expected more"),
        ("broken", broken, "failed", "ZeroDivisionError: a b"),
    ):
        outcome = attempt(works(monkeypatch, work), NOTHING, tmp_path / name)
        assert (outcome.state, outcome.error) == (state, error)
        assert outcome_of(tmp_path / name) == outcome
        assert 0 <= outcome.seconds < 60
        said = replace(outcome, seconds=0.4).said()
        assert said == (f"{state} in 0 s: {error}" if error else f"{state} in 0 s")
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "expected more" not in said, "a user's mistake has no traceback"


@pytest.mark.usefixtures("here")
def test_a_member_that_was_ended_is_interrupted(tmp_path, monkeypatch):
    def ended(*_):
        raise KeyboardInterrupt

    assert outcome_of(tmp_path) == Outcome("missing")
    with pytest.raises(KeyboardInterrupt):
        attempt(works(monkeypatch, ended), NOTHING, tmp_path)
    assert outcome_of(tmp_path).state == "interrupted"
    (tmp_path / "outcome.json").write_text("{")
    assert outcome_of(tmp_path).state == "interrupted"


def test_what_is_left_is_said_line_by_line_and_in_one(tmp_path, capsys):
    left = {"a": Outcome("failed", "no disk"), "b": Outcome("missing")}
    line = members.say_what_is_left(left, 5, tmp_path, None)
    assert capsys.readouterr().out == "a: failed, no disk\nb: missing\n"
    assert line.startswith("2 of 5 runs are not done: 1 failed, 1 missing; ")
    assert f"resume={tmp_path}" in line
    assert members._ender(-signal.SIGKILL) == "SIGKILL"
    assert members._ender(os.EX_SOFTWARE) == "exit code 70"
