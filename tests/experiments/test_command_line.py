"""The command line as a user meets it: processes of their own in a fresh folder, files, lines and exit codes."""

import json
import os
import re
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
    }
    page = (directory / "report.html").read_text()
    assert "NGVAE" in page
    assert all((directory / "figures" / f"{name}.png").is_file() for name in ("reconstructions", "traversals", "kl"))
    assert "data.size=128" in page  # the command that makes it again
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert np.isfinite([metrics["elbo"], metrics["rate"], metrics["distortion"]]).all()
    assert read_posterior(directory / "posterior.zarr")["posterior"]["z"].shape == (1, 2, 64, 4)
    assert len(pd.read_csv(directory / "history.csv")) == 2


def test_the_main_job_says_little(job):
    """Without progress: a line of numbers, one of verdicts, the report's path, and nothing on stderr."""
    directory, done = job
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "ELBO" in lines[0]
    assert "nats" in lines[0]
    assert "failed, see diagnostics.html" in lines[1]
    assert Path(lines[2].removeprefix("Report: ")).resolve() == (directory / "report.html").resolve()
    assert "posterior predictive" in (directory / "diagnostics.html").read_text()
    left = {path.split("/")[0] for path in written(directory.parents[2])}
    assert left == {"runs"}


def test_resume_continues_the_run_in_its_directory(job):
    directory, _ = job
    cwd = directory.parents[2]
    before = pd.read_csv(directory / "history.csv")
    done = experiments(cwd, *TINY, "trainer.epochs=3", f"resume={directory.relative_to(cwd)}")
    assert done.returncode == 0, done.stderr
    after = pd.read_csv(directory / "history.csv")
    assert after["epoch"].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(after[:2], before)
    assert json.loads((directory / "metrics.json").read_text())["epochs"] == 3
    assert list((cwd / "runs" / "normal_gamma_sprites").iterdir()) == [directory]


# Users' mistakes, each in a process forked from one that has imported everything

SERVER = """
import json, os, runpy, sys
sys.argv = ["experiments"]
import experiments.jobs.single, experiments.jobs.study, experiments.__main__
cases = json.load(sys.stdin)
sys.stdout.flush()
results = {}
for name, (cwd, arguments) in cases.items():
    child = os.fork()
    if child == 0:
        os.chdir(cwd)
        for number, path in ((1, cwd + ".out"), (2, cwd + ".err")):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["experiments", *arguments]
        del sys.modules["experiments.__main__"]
        code = 0
        try:
            runpy.run_module("experiments", run_name="__main__", alter_sys=True)
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    results[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(results))
"""

MISTAKES = {  # name: (arguments, what the line must name)
    "choice of a group": (["prior=foo"], ["foo", "normal_gamma"]),
    "choice of experiment": (["experiment=foo"], ["foo", "ngvae_table1"]),
    "key": (["objective.bet=3"], ["bet"]),
    "negative weight": (["objective.beta=-1"], ["beta", "-1"]),
    "epochs that are no number": (["trainer.epochs=abc"], ["epochs", "abc"]),
    "no epochs": (["trainer.epochs=0"], ["epochs", "0"]),
    "missing file": (["data=dsprites"], ["dsprites"]),
    "pair": (["prior=normal"], ["precision"]),
    "directory to resume": (["resume=runs/nowhere"], ["runs/nowhere"]),
}
MORE_MISTAKES = {
    "group": (["priors=normal"], ["priors"]),
    "key of the trainer": (["trainer.epoch=3"], ["epoch"]),
    "added key": (["+objective.bet=3"], ["bet"]),
    "grammar": (["objective.beta=[1"], ["[1"]),
    "no value": (["latents"], ["latents"]),
    "two weights": (["objective.beta=1", "objective.beta_norm=1"], ["beta_norm"]),
    "weight that is no number": (["objective.beta=much"], ["beta", "much"]),
    "estimator": (["guide.estimator=foo"], ["foo", "g-rep"]),
    "estimator of the objective": (["objective.estimator=foo"], ["foo", "mean_field"]),
    "half an epoch": (["trainer.epochs=1.5"], ["epochs", "1.5"]),
    "batch_size": (["trainer.batch_size=0"], ["batch_size"]),
    "learning rate": (["trainer.learning_rate=-1"], ["learning_rate"]),
    "learning rate that is no number": (["trainer.learning_rate=fast"], ["learning_rate", "fast"]),
    "accelerator": (["trainer.accelerator=warp"], ["warp"]),
    "window": (["trainer.stopping.window=1"], ["window"]),
    "seed": (["seed=-1"], ["seed", "-1"]),
    "seed that is no number": (["seed=abc"], ["seed", "abc"]),
    "no latents": (["latents=0"], ["latents", "0"]),
    "latents that are no number": (["latents=few"], ["latents", "few"]),
    "size": (["data.size=0"], ["size", "0"]),
    "image_size": (["data.image_size=8"], ["image_size", "8"]),
    "shapes": (["data.shapes=[hexagon]"], ["hexagon"]),
    "scale": (["likelihood.scale=0"], ["scale", "0"]),
    "activation": (["network.encoder.activation=foo"], ["activation", "foo"]),
    "draws": (["posterior.draws=0"], ["draws", "0"]),
    "other pair": (["guide=mean_field"], ["precision"]),
    "grey pixels": (["likelihood=bernoulli"], ["Bernoulli"]),
    "class": (["guide._target_=guides.Nothing"], ["Nothing"]),
    "module": (["guide._target_=nowhere.Guide"], ["nowhere"]),
    "job": (["job=experiments.nothing.run"], ["nothing"]),
    "checkpoint to resume": (["resume=."], ["checkpoint"]),
}


def made(root: Path, mistakes: dict[str, tuple[list[str], list[str]]]) -> dict[str, tuple[int, str, str, Path]]:
    """Exit code, stdout, stderr and folder of each mistake."""
    cases = {}
    for number, (name, (arguments, _)) in enumerate(mistakes.items()):
        (root / str(number)).mkdir()
        given = {argument.split("=")[0].lstrip("+") for argument in arguments}
        tiny = [setting for setting in TINY if setting.split("=")[0] not in given]
        if "data" in given:
            tiny = [setting for setting in tiny if not setting.startswith("data.")]
        cases[name] = (str(root / str(number)), [*tiny, *arguments])
    command = [sys.executable, "-c", SERVER]
    done = subprocess.run(command, input=json.dumps(cases), env=ENVIRONMENT, capture_output=True, text=True, check=True)
    codes = json.loads(done.stdout.splitlines()[-1])
    files = {name: [Path(cwd + end).read_text() for end in (".out", ".err")] for name, (cwd, _) in cases.items()}
    return {name: (codes[name], *files[name], Path(cwd)) for name, (cwd, _) in cases.items()}


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory):
    return made(tmp_path_factory.mktemp("mistakes"), MISTAKES)


@pytest.fixture(scope="module")
def more_mistakes(tmp_path_factory):
    return made(tmp_path_factory.mktemp("more"), MORE_MISTAKES)


def assert_one_line(result: tuple[int, str, str, Path], named: list[str]) -> None:
    code, out, err, cwd = result
    lines = err.splitlines()
    assert (code, len(lines)) == (2, 1), err
    assert lines[0].startswith("error: ")
    assert len(lines[0]) < 400
    for name in named:
        assert name in lines[0]
    assert out == ""
    assert not list(cwd.rglob("checkpoint.pt"))  # found before any training


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_one_line_and_exit_code_2(mistakes, name):
    assert_one_line(mistakes[name], MISTAKES[name][1])


@pytest.mark.long
@pytest.mark.parametrize("name", MORE_MISTAKES)
def test_more_mistakes_end_in_one_line_and_exit_code_2(more_mistakes, name):
    assert_one_line(more_mistakes[name], MORE_MISTAKES[name][1])


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
