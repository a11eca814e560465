"""The folder of a run: its own, locked while it writes, and gone again where nothing came of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig

from experiments import folders
from experiments.folders import RunFolder, check_run, told_what_is_left, withdrawn_after_a_mistake
from ppvae.errors import Interrupted, UserError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for rank in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(rank, raising=False)
    yield
    folders._entered.close()
    folders._fresh.clear()


def settled(*words: str) -> Path:
    """The folder that Hydra is told to write into."""
    configuration = hydra.compose("config", list(words), return_hydra_config=True)
    RunFolder().on_run_start(configuration)
    return Path(configuration.hydra.run.dir)


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        settled(*words)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def a_run(name: str) -> Path:
    Path(name).mkdir(parents=True)
    (Path(name) / "config.yaml").write_text("seed: 0\n")
    return Path(name)


def everything() -> set[str]:
    return {str(path) for path in Path().rglob("*")}


def test_runs_of_one_second_have_folders_of_their_own(monkeypatch):
    monkeypatch.setattr("hydra.core.utils.datetime", FixedTime)
    first, second = (settled("name=twice") for _ in range(2))
    assert first == Path("runs/twice/2026-01-02_03-04-05")
    assert second == Path("runs/twice/2026-01-02_03-04-05_2")
    assert first.is_dir()
    assert second.is_dir()


class FixedTime:
    """One second."""

    @classmethod
    def now(cls) -> "FixedTime":
        return cls()

    def strftime(self, pattern: str) -> str:
        assert pattern == "%Y-%m-%d_%H-%M-%S"
        return "2026-01-02_03-04-05"


def test_a_folder_that_is_named_is_made_or_must_be_empty(capsys):
    assert settled("hydra.run.dir=mine") == Path("mine")
    Path("there").mkdir()
    assert settled("hydra.run.dir=there") == Path("there")
    Path("there/hydra").mkdir()  # of a run that was killed before it trained anything
    assert settled("hydra.run.dir=there") == Path("there")
    Path("there/hydra").rmdir()
    a_run("run")
    assert "run holds files; resume=run continues a run" in refused(capsys, "hydra.run.dir=run")
    Path("file").touch()
    assert "give another" in refused(capsys, "hydra.run.dir=file")
    assert "file/below cannot be written" in refused(capsys, "hydra.run.dir=file/below")
    assert "the name is too long" in refused(capsys, f"name={'n' * 300}")
    assert everything() == {"mine", "there", "file", "run", "run/config.yaml"} | {"mine/.lock", "there/.lock"}


@pytest.mark.parametrize("name", ["plain", "a b", "a=b,c", "ü", "~", "a#b?", "two\nlines", "$" + "{seed}"])
def test_resume_is_read_as_hydra_parsed_it(name):
    a_run(name)
    word = name.replace("$", "\\$")
    assert settled(f"resume='{word}'").resolve() == Path(name).resolve()
    configuration = hydra.compose("config", [f"resume='{word}'"], return_hydra_config=True)
    RunFolder().on_run_start(configuration)
    HydraConfig.instance().set_config(configuration)
    assert HydraConfig.get().run.dir == name  # as Hydra will read it


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("nowhere", "does not exist"),
        ("file", "file is a file"),
        ("empty", "no run was made in this folder"),
        ("other", "no run was made in this folder"),
        ("3", "expected a folder"),
        ("[a]", "expected a folder"),
        ("''", "expected a folder"),
    ],
)
def test_resuming_what_is_no_run_changes_nothing(capsys, value, line):
    Path("file").touch()
    Path("empty").mkdir()
    Path("other").mkdir()
    (Path("other") / "notes.txt").write_text("notes")
    before = everything()
    assert line in refused(capsys, f"resume={value}")
    assert everything() == before


def test_resume_takes_no_other_folder(capsys):
    a_run("run")
    assert "leave hydra.run.dir=other out" in refused(capsys, "resume=run", "hydra.run.dir=other")


def test_a_run_made_before_there_were_records_is_one(tmp_path):
    (tmp_path / "old" / "hydra").mkdir(parents=True)
    (tmp_path / "old" / "hydra" / "config.yaml").write_text("seed: 0\n")
    assert check_run("resume", "old") == Path("old")


def test_a_second_process_is_kept_out_while_the_first_writes():
    a_run("run")
    settled("resume=run")
    other = "from ppvae.files import locked\nwith locked('run'): pass"
    done = subprocess.run([sys.executable, "-c", other], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"is being written by process {os.getpid()}" in done.stderr


def test_the_other_ranks_of_a_run_have_no_folder_of_it(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    directory = settled("name=many")
    assert directory.name.startswith("ppvae_rank_")
    assert not Path("runs").exists()
    folders._entered.close()
    assert not directory.exists()


def test_a_mistake_takes_the_fresh_folder_away():
    fresh = settled("name=fresh")
    (fresh / "run.json").write_text(json.dumps({}))
    with pytest.raises(UserError), withdrawn_after_a_mistake(fresh):
        raise UserError("wrong")
    assert not Path("runs").exists()
    trained = settled("name=trained")
    (trained / "checkpoint.pt").touch()
    with pytest.raises(UserError), withdrawn_after_a_mistake(trained):
        raise UserError("diverged")
    assert (trained / "checkpoint.pt").is_file()
    run = a_run("run")
    settled("resume=run")
    with pytest.raises(UserError), withdrawn_after_a_mistake(run):
        raise UserError("another configuration")
    assert (run / "config.yaml").is_file()


def test_an_interruption_says_what_is_left():
    nothing = pytest.raises(Interrupted, match=r"^interrupted before the training; nothing is left$")
    with nothing as raised, told_what_is_left(Path("gone")):
        raise Interrupted("interrupted", 143)
    assert raised.value.code == 143
    a_run("run")
    with pytest.raises(Interrupted, match=r"^interrupted; resume=run goes on"), told_what_is_left(Path("run")):
        raise KeyboardInterrupt
    with pytest.raises(Interrupted, match=r"^saved all of it$"), told_what_is_left(Path("run")):
        raise Interrupted("saved all of it")
