"""Sweeps in this process: what is run and run again, the table, the page; and one whose members die, as a command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from experiments.jobs import single
from experiments.sweeps.page import axis_of, labels_of, settings_table
from experiments.sweeps.run import run_sweep
from ppvae import UserError, write_posterior
from ppvae.metrics import mig_metric

JOB = "job=experiments.jobs.single.job_of_a_test"
BETAS = [[JOB, f"objective.beta={beta}", f"seed={seed}"] for beta in (1, 100) for seed in (0, 1)]


def posterior() -> xr.DataTree:
    """Two latents that are the two factors, and noise."""
    random = np.random.default_rng(0)
    factors = random.integers(0, 4, (200, 2))
    codes = factors + random.normal(0, 0.1, (200, 2))
    dims = ("image", "latent")
    moments = {"z_mean": (dims, codes), "z_variance": (dims, np.full_like(codes, 0.01)), "latent": [0, 1]}
    groups = {
        "posterior": xr.Dataset({"z": (("chain", "draw", "image", "latent"), codes[None, None])}),
        "sample_stats": xr.Dataset(moments),
        "constant_data": xr.Dataset({name: ("image", factors[:, k], {"levels": 4}) for k, name in enumerate("ab")}),
    }
    return xr.DataTree.from_dict(groups)


class Job:
    """Writes numbers as a run would; fails where ``fails`` says so, once begun."""

    def __init__(self):
        self.begun, self.fails = [], lambda _: False

    def __call__(self, configuration: DictConfig, directory: Path) -> None:
        self.begun.append((directory.name, configuration.resume))
        assert not configuration.keys() & {"sweep", "workers", "hydra"}
        (directory / "checkpoint.pt").touch()
        if self.fails(configuration):
            raise UserError("the loss is not finite")
        rate = 10.0 / configuration.objective.beta + configuration.seed
        numbers = {"data": "sprites", "units": "nats", "rate": rate, "distortion": 2.0}
        (directory / "metrics.json").write_text(json.dumps(numbers))


@pytest.fixture
def job(monkeypatch) -> Job:
    job = Job()
    monkeypatch.setattr(single, "job_of_a_test", job, raising=False)
    return job


def swept(directory: Path, members: list[list[str]], *overrides: str) -> pd.DataFrame:
    """The table of a sweep by Hydra's basic launcher."""
    given = ["launcher=basic", "sweep.metrics=[rate,distortion]", *overrides]
    master = [*given, f"hydra.sweep.dir={directory}", "hydra.mode=MULTIRUN"]
    config = hydra.compose("config", master, return_hydra_config=True)
    try:
        run_sweep([[*given, *own] for own in members], config, GlobalHydra.instance().config_loader())
    finally:
        table = pd.read_csv(directory / "sweep.csv") if (directory / "sweep.csv").is_file() else None
    return table


def test_a_row_a_member_and_a_row_a_setting(job, tmp_path, capsys):
    table = swept(tmp_path, BETAS)
    assert table["member"].tolist() == ["beta=1_seed=0", "beta=1_seed=1", "beta=100_seed=0", "beta=100_seed=1"]
    assert table["objective.beta"].tolist() == [1, 1, 100, 100]
    np.testing.assert_allclose(table["rate"], [10, 11, 0.1, 1.1])
    assert set(table["state"]) == {"done"}
    assert (tmp_path / "beta=1_seed=1" / "hydra" / "overrides.yaml").read_text().count("objective.beta=1") == 1
    written = (tmp_path / "table.md").read_text()
    assert "| 1 | 2 of 2 | 10.5 ± 0.7 | 2 ± 0 |" in written
    assert "| 100 | 2 of 2 | 0.60 ± 0.71 | 2 ± 0 |" in written
    assert (tmp_path / "figures" / "metrics.svg").is_file()
    assert "sweep.html" in capsys.readouterr().out
    assert len(job.begun) == 4


def test_a_failed_member_ends_nothing_and_a_rerun_tries_it_alone(job, tmp_path, capsys):
    job.fails = lambda configuration: configuration.objective.beta == 1 and configuration.seed == 0
    with pytest.raises(UserError, match=r"1 of 4 runs are not done: 1 failed; .*resume=") as error:
        swept(tmp_path, BETAS)
    assert "\n" not in str(error.value)
    assert "beta=1_seed=0: failed, the loss is not finite\n" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "sweep.csv").set_index("member")
    assert table.loc["beta=1_seed=0", "error"] == "the loss is not finite"
    assert "| 1 | 1 of 2 | 11 | 2 |" in (tmp_path / "table.md").read_text()
    assert "Not done: beta=1_seed=0." in (tmp_path / "table.md").read_text()
    assert "the loss is not finite" in (tmp_path / "sweep.html").read_text()
    job.begun, job.fails = [], lambda _: False
    assert set(swept(tmp_path, BETAS)["state"]) == {"done"}
    assert job.begun == [("beta=1_seed=0", str(tmp_path / "beta=1_seed=0"))], "from its checkpoint"
    swept(tmp_path, [*BETAS, [JOB, "objective.beta=7", "seed=0"]])
    assert [name for name, _ in job.begun[1:]] == ["beta=7_seed=0"], "more values: what is new alone"


def test_members_of_another_configuration_are_refused(job, tmp_path):
    swept(tmp_path, BETAS[:2])
    OmegaConf.save(hydra.compose("config", [*BETAS[0], "latents=3"]), tmp_path / "seed=0" / "config.yaml")
    with pytest.raises(UserError, match=r"seed=0 was made with"):
        swept(tmp_path, BETAS[:2])
    assert len(job.begun) == 2


def test_metrics_by_name_are_of_the_stored_posterior_and_may_be_asked_for_later(job, tmp_path):
    swept(tmp_path, BETAS[:2])
    tree = posterior()
    write_posterior(tree, tmp_path / "seed=0" / "posterior.zarr")
    table = swept(tmp_path, BETAS[:2], "sweep.metrics=[rate,mig]").set_index("member")
    codes, factors = tree["sample_stats"]["z_mean"], tree["constant_data"].to_dataset()
    assert table.loc["seed=0", "mig"] == pytest.approx(
        float(mig_metric(codes, factors, preset="quick", seed=0)["score"])
    )
    assert np.isnan(table.loc["seed=1", "mig"])
    assert table.loc["seed=1", "error"] == "mig: no posterior was stored"
    assert len(job.begun) == 2, "nothing is trained again"
    with pytest.raises(UserError, match=r"sweep\.metrics=mgi: did you mean mig\? ppvae list metrics lists all \d\d$"):
        swept(tmp_path, BETAS[:2], "sweep.metrics=[mgi]")


def test_what_is_missing_is_said_in_the_table():
    members = pd.DataFrame(
        {
            "member": ["a", "b", "c"],
            "state": ["done", "done", "missing"],
            "prior": ["normal", "vamp", "mixture"],
            "rate": [1.5, None, None],
            "units": ["nats", "surrogate nats", None],
            "error": ["", "", ""],
        }
    )
    table = settings_table(members, ["prior", "seed"], labels_of(["rate", "mig"]))
    assert table.columns == ["prior", "members done", "rate (nats)", "MIG"]
    assert table.rows[0] == ["normal", "1 of 1", "1.50", None]
    assert table.rows[2] == ["mixture", "0 of 1", None, None]
    assert "Not done: c." in table.caption
    assert "normal without MIG; vamp without rate (nats), MIG" in table.caption
    assert "b: surrogate nats" in table.caption


def test_the_axis_is_the_number_with_most_values():
    members = pd.DataFrame({"prior": ["a", "b", "c"], "beta": ["1", "4", "16"], "latents": ["5", "5", "9"]})
    assert axis_of(members, ["prior", "latents", "beta"]) == "beta"
    assert axis_of(members, ["prior"]) == "prior"


DEADLY = """
import json, os, signal
def run(configuration, directory):
    assert os.environ["OMP_NUM_THREADS"] == "1"
    if configuration.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    print("a word")
    (directory / "metrics.json").write_text(json.dumps({"data": "none", "units": "nats", "rate": 1.0}))
"""


@pytest.mark.long
def test_a_member_that_is_killed_ends_nothing(tmp_path):
    """``--multirun`` as a user starts it, in processes by joblib."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "experiments", "--multirun", "job=deadly.run", "seed=0,1,2", "workers=2"]
    done = subprocess.run(
        [*command, "hydra.sweep.dir=swept"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: 1 of 3 runs are not done: 1 failed")
    assert done.stderr.count("\n") == 1
    assert "seed=1: failed, its process was ended by SIGKILL\n" in done.stdout
    assert pd.read_csv(tmp_path / "swept" / "sweep.csv")["state"].tolist() == ["done", "failed", "done"]
    assert (tmp_path / "swept" / "seed=0" / "output.log").read_text() == "a word\n"
