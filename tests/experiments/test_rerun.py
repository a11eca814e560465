"""A run once more, compared."""

import json
from pathlib import Path

import hydra
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from experiments.rerun import compared, numbers_of, rerun
from ppvae.errors import UserError


def written(directory: Path, elbo: float, loss: float) -> Path:
    directory.mkdir(exist_ok=True)
    metrics = {"elbo": elbo, "units": "nats", "test_nll": None, "epochs": 2, "seconds": elbo}
    (directory / "metrics.json").write_text(json.dumps(metrics))
    history = pd.DataFrame({"epoch": [1, 2], "loss": [9.0, loss], "seconds": [1.0, elbo]})
    history.to_csv(directory / "history.csv", index=False)
    return directory


def job(configuration: DictConfig, directory: Path) -> None:
    """Measures what the configuration says."""
    assert configuration.resume is None
    assert configuration.rerun is None
    written(directory, configuration.objective.beta, configuration.likelihood.scale)


def test_numbers_are_those_of_the_metrics_and_the_last_epoch_without_times(tmp_path):
    numbers = numbers_of(written(tmp_path / "run", -3.0, 4.0))
    assert numbers == {"elbo": -3.0, "epochs": 2.0, "last epoch: loss": 4.0}


def test_a_table_holds_each_number_and_its_difference():
    table = compared(
        {"a": 1.0, "b": 2.0, "nan": float("nan"), "gone": 1.0}, {"a": 1.0, "b": 2.5, "nan": float("nan"), "new": 3.0}
    )
    assert [row[3] for row in table.rows] == [0.0, 0.5, 0.0, None, None]
    assert [row[0] for row in table.rows] == ["a", "b", "nan", "gone", "new"]


@pytest.mark.parametrize(
    ("elbo", "said"),
    [(-3.0, "The same numbers."), (-2.0, "1 of 3 numbers differ, most of all elbo: by 1.")],
)
def test_a_run_is_repeated_and_compared(tmp_path, capsys, monkeypatch, elbo, said):
    monkeypatch.setattr("experiments.jobs.single.run", job)
    first = written(tmp_path / "first", -3.0, 4.0)
    own = hydra.compose("config", [f"objective.beta={elbo}", "likelihood.scale=4.0", "resume=elsewhere"])
    own.job, own.image_shape, own.maps = "experiments.jobs.single.run", [3, 32, 32], 3
    OmegaConf.save(own, first / "config.yaml")
    again = tmp_path / "again"
    again.mkdir()
    rerun(hydra.compose("config", [f"rerun={first}"]), again)
    out = capsys.readouterr().out
    assert said in out
    assert (again / "rerun.md").read_text() == out
    assert json.loads((first / "metrics.json").read_text())["elbo"] == -3.0


def test_only_a_finished_run_is_repeated(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        rerun(hydra.compose("config", [f"rerun={tmp_path}/nowhere"]), tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(UserError, match=r"there is no metrics.json; give the folder of one finished run"):
        rerun(hydra.compose("config", [f"rerun={tmp_path}"]), tmp_path)
    with pytest.raises(UserError, match="give one of them"):
        rerun(hydra.compose("config", ["rerun=a", "resume=b"]), tmp_path)
