"""What launchers are told: how many members at a time, on how many threads each, in which folders."""

from importlib.util import find_spec

import hydra
import joblib
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from experiments import launching
from experiments.launching import launch
from ppvae import UserError


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", list(overrides), return_hydra_config=True)


MEMBERS = {f"seed={seed}": [f"seed={seed}"] for seed in range(3)}


@pytest.fixture
def told(monkeypatch) -> list:
    """What a launcher that launches nothing was told: its name, its own settings, the members' overrides."""
    found = []

    class Launcher:
        def __init__(self, config):
            self.config = config

        def launch(self, overrides, initial_job_idx):
            hydra_config = self.config.hydra
            found.append((hydra_config.runtime.choices["hydra/launcher"], hydra_config.launcher, overrides))
            assert initial_job_idx == sum(len(some) for _, _, some in found[:-1])
            return []

    class Plugins:
        @staticmethod
        def instance():
            return Plugins

        @staticmethod
        def instantiate_launcher(context, task, config):
            assert context.config_loader is not None
            assert callable(task)
            return Launcher(config)

    monkeypatch.setattr(launching, "Plugins", Plugins)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return found


@pytest.mark.parametrize(("workers", "at_a_time", "threads"), [(None, 3, 2), (2, 2, 4), (1, 1, 8), (99, 3, 2)])
def test_members_share_the_cores(told, tmp_path, workers, at_a_time, threads):
    launch(MEMBERS, print, tmp_path, composed(), workers)
    name, launcher, overrides = told[0]
    assert (name, launcher.n_jobs) == ("joblib", at_a_time)
    assert at_a_time * threads <= 8
    for seed, own in enumerate(overrides):
        assert own == [
            f"seed={seed}",
            f"++hydra.job.env_set.OMP_NUM_THREADS={threads}",
            f"hydra.sweep.subdir='seed={seed}'",
        ]


def test_no_more_threads_than_the_environment_allows(told, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    launch(MEMBERS, print, tmp_path, composed(), 2)
    assert "++hydra.job.env_set.OMP_NUM_THREADS=1" in told[0][2][0]


def test_launchers_by_one_word(told, tmp_path):
    launch(MEMBERS, print, tmp_path, composed("launcher=submitit"), 2)
    name, launcher, overrides = told.pop()
    assert (name, launcher.array_parallelism, launcher.cpus_per_task) == ("submitit_slurm", 2, 4)
    assert composed("launcher=submitit").hydra.job.env_set.OMP_NUM_THREADS == "4"
    assert not any("OMP" in word for own in overrides for word in own), "a member has its cores from Slurm"
    launch(MEMBERS, print, tmp_path, composed("launcher=submitit_local"), 2)
    assert [len(overrides) for _, _, overrides in told] == [2, 1], "it starts all it is given at once"
    told.clear()
    launch(MEMBERS, print, tmp_path, composed("launcher=ray"), 2)
    assert told.pop()[1].ray.init.num_cpus == 2
    launch(MEMBERS, print, tmp_path, composed("launcher=basic"), None)
    assert told.pop()[0] == "basic"


def test_inside_a_member_of_a_sweep_runs_follow_one_another(told, tmp_path):
    HydraConfig.instance().set_config(composed("hydra.mode=MULTIRUN"))
    launch(MEMBERS, print, tmp_path, composed("launcher=joblib"), 2)
    assert told[0][0] == "basic"


@pytest.mark.parametrize("workers", [0, -1, 1.5, "all", True])
def test_workers_that_are_no_number(tmp_path, workers):
    with pytest.raises(UserError, match="workers="):
        launch(MEMBERS, print, tmp_path, composed(), workers)


def test_an_engine_that_fails_is_one_line(tmp_path, told, monkeypatch):
    def broken(*_):
        raise RuntimeError("no\ncluster")

    monkeypatch.setattr(launching.Plugins, "instantiate_launcher", broken)
    assert launch(MEMBERS, print, tmp_path, composed(), 2) == "launcher=joblib failed: RuntimeError: no cluster"
    assert launch({}, print, tmp_path, composed(), 2) is None
    assert told == []


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_that_is_not_installed_names_the_extra(tmp_path):
    with pytest.raises(UserError, match=r"ppvae\[ray\]"):
        launch(MEMBERS, print, tmp_path, composed("launcher=ray"), 2)
