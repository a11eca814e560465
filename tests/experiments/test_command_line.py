"""The command line as a user meets it: processes of their own in a fresh folder, files, lines and exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ppvae import read_posterior

TINY = [
    "data.size=128",
    "data.image_size=32",
    "network=mlp",
    "latents=4",
    "trainer.epochs=2",
    "trainer.batch_size=32",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
    "posterior.images=64",
    "posterior.draws=2",
    "posterior.ablation_images=32",
    "diagnosis.images=20",
    "diagnosis.draws=30",
    "diagnosis.simulations=20",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def experiments(cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "experiments", *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def written(cwd: Path) -> set[str]:
    return {str(path.relative_to(cwd)) for path in cwd.rglob("*") if path.is_file()}


# The main job


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """The folder of a tiny main job, and what it said."""
    cwd = tmp_path_factory.mktemp("main")
    done = experiments(cwd, *TINY)
    assert done.returncode == 0, done.stderr
    return next((cwd / "runs" / "normal_gamma_sprites").iterdir()), done


def test_the_main_job_writes_its_report_and_numbers(job):
    directory, _ = job
    assert {path.name for path in directory.iterdir()} >= {
        "report.html",
        "figures",
        "posterior.zarr",
        "metrics.json",
        "checkpoint.pt",
        "history.csv",
        "latents.csv",
        "config.yaml",
        "tensorboard",
        "hydra",
        "run.json",
        "experiments.log",
    }
    page = (directory / "report.html").read_text()
    assert "NGVAE" in page
    assert all((directory / "figures" / f"{name}.svg").is_file() for name in ("reconstructions", "traversals", "kl"))
    assert "data.size=128" in page  # the command that makes it again
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert np.isfinite([metrics["elbo"], metrics["rate"], metrics["distortion"]]).all()
    assert read_posterior(directory / "posterior.zarr")["posterior"]["z"].shape == (1, 2, 64, 4)
    assert len(pd.read_csv(directory / "history.csv")) == 2


def test_the_main_job_says_little(job):
    """Without progress: a line of numbers, sentences, the last on what failed, the codes' and the report's path."""
    directory, done = job
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    unread = [line for line in lines if line.startswith("But the code is ")]  # of a code that says little
    assert len(unread) <= 1
    assert len(lines) - len(unread) <= 6
    assert "ELBO" in lines[0]
    assert "nats" in lines[0]
    assert "of 4 latents are used, by ablation" in lines[1]
    assert "failed: " in lines[-3]
    assert "see diagnostics.html" in lines[-3]
    assert Path(lines[-2].removeprefix("Codes: ")).resolve() == (directory / "codes.csv").resolve()
    assert Path(lines[-1].removeprefix("Report: ")).resolve() == (directory / "report.html").resolve()
    assert "posterior predictive" in (directory / "diagnostics.html").read_text()
    left = {path.split("/")[0] for path in written(directory.parents[2])}
    assert left == {"runs"}


def test_resume_continues_the_run_in_its_directory(job, command_line):
    directory, _ = job
    cwd = directory.parents[2]
    before = pd.read_csv(directory / "history.csv")
    done = command_line(cwd, *TINY, "trainer.epochs=3", f"resume={directory.relative_to(cwd)}")
    assert done.returncode == 0, done.stderr
    after = pd.read_csv(directory / "history.csv")
    assert after["epoch"].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(after[:2], before)
    assert json.loads((directory / "metrics.json").read_text())["epochs"] == 3
    assert list((cwd / "runs" / "normal_gamma_sprites").iterdir()) == [directory]
    record = json.loads((directory / "run.json").read_text())
    assert (record["state"], record["before"][0]["state"]) == ("finished", "finished")
    assert "trainer.epochs=3" in record["command"]


def test_a_run_is_repeated_with_the_same_numbers(job, command_line):
    directory, _ = job
    cwd = directory.parents[2]
    done = command_line(cwd, f"rerun={directory.relative_to(cwd)}", "hydra.run.dir=again")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("The same numbers.")
    assert (
        json.loads((cwd / "again" / "metrics.json").read_text())["elbo"]
        == json.loads((directory / "metrics.json").read_text())["elbo"]
    )


AT_IMPORT = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have been told to ignore it
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sender())
sys.argv[1:] = {words}
runpy.run_module("experiments", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("module", "number", "code"), [("torch", signal.SIGINT, 130), ("experiments.jobs.single", signal.SIGTERM, 143)]
)
def test_a_signal_before_the_training_ends_in_one_line(tmp_path, fresh, module, number, code):
    """While torch is imported, and when the run already has its folder."""
    done = fresh(tmp_path, AT_IMPORT.format(module=module, number=int(number), words=TINY))
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("interrupted")
    assert done.stderr.count("\n") == 1
    assert not written(tmp_path)


# Users' mistakes: what a line says is tested where it is found; here, that the whole command line ends in it


def tried(kind: str, *more: str) -> tuple[str, subprocess.CompletedProcess]:
    """The page of the wrong command lines of a kind."""
    command = [sys.executable, "-m", "experiments.benchmarks.wrong_command_lines", "--only", kind, *more]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return done.stdout, done


@pytest.mark.long
def test_twenty_words_of_which_one_is_wrong_end_in_one_line():
    page, _ = tried("twenty at once", "--no-right")
    assert "| all | 6 | 6 | 0 | 0 | 0 | 0 | 0 |" in page, page


@pytest.mark.long
def test_wrong_command_lines_end_in_one_line_and_right_ones_run():
    page, _ = tried("", "--workers", "2")
    counts = re.search(r"^\| all \| (\d+) \| (\d+) \|", page, flags=re.M)
    assert int(counts[1]) > 206
    assert counts[1] == counts[2], page
    assert "Right lines refused" not in page


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    done = experiments(tmp_path, "prior=foo")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert not written(tmp_path)


# Studies


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    cwd = tmp_path_factory.mktemp("study")
    done = experiments(cwd, "experiment=ngvae_table1", *TINY, "seeds=[3]")
    assert done.returncode == 0, done.stderr
    return next((cwd / "runs" / "ngvae_table1").iterdir()), done


@pytest.mark.long
def test_the_study_writes_its_table(study):
    directory, done = study
    results = pd.read_csv(directory / "results.csv")
    assert results["model"].tolist() == ["vanilla", "beta_27", "beta_150", "ngvae"]
    assert results["seed"].tolist() == [3] * 4
    table = (directory / "table.md").read_text()
    assert re.search(r"informative latents by p < ½ \|.*\[7\] \|", table)
    assert table[table.index("| metric") :] in done.stdout
    assert "- seed: [3]" in table
    assert done.stderr == ""
    assert (directory / "report.html").is_file()
    for model in results["model"]:
        files = {path.name for path in (directory / model / "seed3").iterdir()}
        assert files >= {"checkpoint.pt", "metrics.json", "posterior.zarr", "config.yaml"}
    configurations = {model: (directory / model / "seed3" / "config.yaml").read_text() for model in results["model"]}
    assert "beta: 27" in configurations["beta_27"]
    assert "NormalGammaGuide" in configurations["ngvae"]
    assert "MeanFieldNormal" in configurations["vanilla"]
    assert all("size: 128" in text and "epochs: 2" in text for text in configurations.values())


@pytest.mark.long
def test_a_study_trains_only_what_is_missing(study):
    directory, _ = study
    cwd = directory.parents[2]
    kept = (directory / "vanilla" / "seed3" / "checkpoint.pt").stat().st_mtime_ns
    (directory / "ngvae" / "seed3" / "metrics.json").unlink()
    results = pd.read_csv(directory / "results.csv").drop(columns="seconds")
    done = experiments(
        cwd, "experiment=ngvae_table1", *TINY, "seeds=[3]", "workers=2", f"resume={directory.relative_to(cwd)}"
    )
    assert done.returncode == 0, done.stderr
    assert (directory / "vanilla" / "seed3" / "checkpoint.pt").stat().st_mtime_ns == kept
    again = pd.read_csv(directory / "results.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(again, results)


@pytest.mark.long
def test_a_sweep_runs_every_job(tmp_path):
    done = experiments(tmp_path, "--multirun", *TINY, "trainer.epochs=1", "objective=beta,free_bits")
    assert done.returncode == 0, done.stderr
    jobs = sorted(report.parent.name for report in tmp_path.glob("runs/multirun/*/*/report.html"))
    assert len(jobs) == 2
    assert "objective=beta" in jobs[0]
    assert "objective=free_bits" in jobs[1]
