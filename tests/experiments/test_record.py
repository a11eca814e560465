"""The record of a run."""

import hydra
import pytest

from experiments.record import read_record, recorded
from ppvae.errors import Interrupted, UserError


def test_a_record_is_there_from_the_start_and_completed_at_the_end(tmp_path):
    configuration = hydra.compose("config", ["seed=7"])
    with recorded(configuration, tmp_path):
        begun = read_record(tmp_path)
    ended = read_record(tmp_path)
    assert (begun["state"], ended["state"]) == ("running", "finished")
    assert begun["seed"] == "7"
    assert begun["job"] == "experiments.jobs.single.run"
    assert begun.keys() >= {"command", "commit", "torch", "device", "machine", "start"}
    assert ended.keys() - begun.keys() == {"end", "wall_seconds", "peak_memory_gb"}
    assert ended["peak_memory_gb"] > 0.05
    assert ended["end"] >= ended["start"]


@pytest.mark.parametrize(
    ("error", "state", "line"),
    [
        (UserError("diverged"), "failed", "diverged"),
        (KeyError("a"), "failed", "KeyError: 'a'"),
        (Interrupted("saved"), "interrupted", "Interrupted: saved"),
    ],
)
def test_what_ended_a_run_is_recorded_and_what_was_before_stays(tmp_path, error, state, line):
    configuration = hydra.compose("config")
    with pytest.raises(type(error)), recorded(configuration, tmp_path):
        raise error
    failed = read_record(tmp_path)
    assert (failed["state"], failed["error"]) == (state, line)
    with recorded(configuration, tmp_path):
        pass
    again = read_record(tmp_path)
    assert again["state"] == "finished"
    assert [part["state"] for part in again["before"]] == [state]
    with recorded(configuration, tmp_path):
        pass
    assert [part["state"] for part in read_record(tmp_path)["before"]] == [state, "finished"]


def test_a_damaged_record_is_one_line(tmp_path):
    assert read_record(tmp_path) == {}
    (tmp_path / "run.json").write_text('{"state":')
    with pytest.raises(UserError, match=r"run.json is damaged"):
        read_record(tmp_path)
