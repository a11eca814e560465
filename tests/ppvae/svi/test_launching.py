"""Processes that a launcher started are recognised; those started here hear of signals to the one that did."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from guides import MeanFieldNormal
from ppvae import VAE, UserError, fit
from ppvae.errors import Interrupted
from ppvae.launchers import Launched, launched
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior

SHAPE, LATENTS = (1, 4, 4), 2
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "3"}
SRUN = {"SLURM_JOB_NAME": "vae", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "5"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (TORCHRUN, Launched("torchrun", 4, 2, 3)),
        (TORCHRUN | {"WORLD_SIZE": "1"}, None),
        (SRUN, Launched("srun", 8, 4, 5)),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, None),
        (SRUN | {"SLURM_JOB_NAME": "interactive"}, None),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "vae"}, None),  # the batch script itself
    ],
)
def test_what_a_launcher_started_is_read_from_the_environment(environment, found):
    assert launched(environment) == found
    assert found is None or found.machines == 2


def train(folder: Path | None = None, **options) -> object:
    torch.manual_seed(0)
    model = VAE(NormalPrior(LATENTS), BernoulliLikelihood(MLPDecoder(LATENTS, SHAPE, (8,))))
    guide = MeanFieldNormal(MLPEncoder(SHAPE, (8,)), LATENTS)
    images = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(1)).round()
    fixed = {"batch_size": 16, "compile": False, "accelerator": "cpu", "progress": False, "directory": folder}
    return fit(model, guide, images, **fixed | options)


def test_devices_of_a_launcher_are_not_those_that_were_asked_for(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="devices=3, but torchrun started 2 processes on this machine; leave devices"):
        train(devices=3, epochs=1)


def test_one_device_is_this_process_alone_whoever_started_it(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert train(devices=1, epochs=1).sizes["epoch"] == 1


@pytest.mark.long
@pytest.mark.parametrize(("sent", "whole_group"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_signal_ends_all_processes_after_a_step_that_is_saved(sent, whole_group, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, __file__, str(folder)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (folder / "history.csv").exists():
        time.sleep(0.1)
        assert running.poll() is None, running.stderr.read()
    os.killpg(running.pid, sent) if whole_group else os.kill(running.pid, sent)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 128 + sent
    assert told.count("\n") == 1
    assert f"which {folder}/checkpoint.pt holds; resume continues there" in told
    done = torch.load(folder / "checkpoint.pt")["history"]["loss"]["rows"]
    history = train(folder, resume=True, epochs=len(done) + 1)
    assert history.loss[: len(done)].values.tolist() == done
    assert abs(history.loss[-1] - done[-1]) < 0.5


@pytest.mark.long
def test_a_mistake_that_one_process_meets_ends_all_in_one_line(tmp_path):
    """The loss of one process's images diverges."""
    with pytest.raises(UserError, match="lower learning_rate") as caught:
        train(tmp_path / "run", devices=2, epochs=3, learning_rate=1e30)
    assert "\n" not in str(caught.value)


if __name__ == "__main__":
    try:
        train(Path(sys.argv[1]), devices=2, epochs=100_000)
    except Interrupted as interrupted:
        sys.stderr.write(f"{interrupted}\n")
        sys.exit(interrupted.code)
