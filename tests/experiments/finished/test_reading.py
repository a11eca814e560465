"""Folders that are no finished run, or that somebody else wrote: one line, and nothing in them is executed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import ppvae
from experiments.benchmarks.hostile_configurations import CONFIGURATIONS
from ppvae import UserError
from ppvae.application import application

EARLIER = Path(__file__).parent / "earlier_run"


def refused(folder: Path | str, match: str, **options) -> None:
    with pytest.raises(UserError, match=match) as error:
        ppvae.load(folder, **options)
    assert "\n" not in str(error.value)


@pytest.fixture
def spoilt(copied) -> Path:
    """A finished run that may be spoilt."""
    return copied("plain")


def test_a_run_of_an_earlier_version_is_read():
    """It has no record and no word of codes, selections, conditions or recipes; the numbers are those of that time."""
    run = ppvae.load(EARLIER)
    images = (2 * np.arange(108)).reshape(3, 1, 6, 6).astype(np.uint8)
    expected = [
        [-0.277924, 0.192162, 0.852387, 1.076567],
        [-0.288773, 0.162524, 0.846689, 1.066412],
        [-0.296901, 0.154681, 0.844294, 1.062690],
    ]
    np.testing.assert_allclose(run.encode(images), expected, atol=2e-6)
    assert run.sample(2).shape == run.reconstruct(images[:2]).shape == (2, 1, 6, 6)
    with pytest.raises(UserError, match="keeps no training images to rank others among"):
        run.score(images)
    with pytest.raises(UserError, match=r"has no codes\.csv: encode\(run\.data\) makes them"):
        _ = run.codes


def test_a_folder_that_is_no_run(tmp_path):
    refused(tmp_path / "nowhere", r"nowhere does not exist; give the folder of a run, runs/NAME/TIME")
    refused(tmp_path, "no run was made in this folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is a file; give the folder of a run")
    refused("", "expected a folder")


def test_a_folder_of_runs_names_those_below_it(spoilt, tmp_path):
    """Of three or fewer all, the last made first; a folder of such folders likewise."""
    for day in (1, 2, 3, 4):
        shutil.copytree(spoilt, tmp_path / "runs" / "cells" / f"2026-01-0{day}")
    for folder in (tmp_path / "runs", tmp_path / "runs" / "cells"):
        named = ", ".join(f"{tmp_path}/runs/cells/2026-01-0{day}" for day in (4, 3, 2))
        refused(folder, f"no run was made in this folder, but 4 below it: give one of them, {named}, …$")
    shutil.rmtree(tmp_path / "runs" / "cells" / "2026-01-04")
    refused(tmp_path / "runs", "but 3 below it: give one of them, [^…]*$")


@pytest.mark.parametrize("state", ["running", "failed", "interrupted"])
def test_a_run_that_is_not_finished(spoilt, state):
    (spoilt / "run.json").write_text(json.dumps({"state": state}))
    refused(spoilt, rf"run is not finished, its state is '{state}': resume=.*run goes on with it")


def test_a_run_that_was_killed_before_it_was_measured(spoilt):
    (spoilt / "metrics.json").unlink()
    refused(spoilt, r"is not finished, it has no metrics\.json: resume=")


def test_a_study_names_one_of_its_runs(spoilt, tmp_path):
    (tmp_path / "run.json").write_text('{"state": "finished"}')
    refused(tmp_path, r"holds no trained pair, but 1 below it: give one of them, .*/run$")
    (spoilt / "checkpoint.pt").unlink()
    refused(spoilt, "holds no trained pair; give a run that has one")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_hostile_configuration_is_refused_in_one_line(spoilt, name, monkeypatch):
    monkeypatch.chdir(spoilt)
    (spoilt / "config.yaml").unlink()
    CONFIGURATIONS[name](spoilt)
    refused(spoilt, r"config\.yaml")


def test_a_foreign_part_is_refused_before_it_is_imported_unless_it_is_allowed(spoilt, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nfrom guides import MeanFieldNormal\nPath('imported').touch()\n"
        "class Guide(MeanFieldNormal):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    configuration = OmegaConf.load(spoilt / "config.yaml")
    configuration.guide._target_ = "mine.Guide"
    configuration.allow = ["mine"]  # what the file itself allows is not heard
    OmegaConf.save(configuration, spoilt / "config.yaml")
    refused(spoilt, r"_target_=mine\.Guide: a file may name parts of .* alone; where you trust it, allow=\[mine\]")
    assert not Path("imported").exists()
    refused(spoilt, r"allow='mine': expected a list of names, \['mine'\]", allow="mine")
    assert type(ppvae.load(spoilt, allow=["mine"]).guide).__name__ == "Guide"


@pytest.mark.parametrize("shape", [None, [3, 8], [3, 8, -1], "abc"])
def test_a_configuration_must_say_what_images_it_is_of(spoilt, shape):
    configuration = OmegaConf.load(spoilt / "config.yaml")
    configuration.image_shape = shape
    OmegaConf.save(configuration, spoilt / "config.yaml")
    refused(spoilt, r"has image_shape=.*: expected \[channels, rows, columns\]")


def test_parameters_of_another_pair_or_damaged_ones(spoilt):
    content = (spoilt / "checkpoint.pt").read_bytes()
    (spoilt / "checkpoint.pt").write_bytes(content[:-100])
    refused(spoilt, "is damaged or no checkpoint")
    (spoilt / "checkpoint.pt").write_bytes(content)
    configuration = OmegaConf.load(spoilt / "config.yaml")
    configuration.network.encoder.hidden = [9]
    configuration.guide.encoder.hidden = [9]
    OmegaConf.save(configuration, spoilt / "config.yaml")
    refused(spoilt, r"checkpoint.*is of another guide: .* use the configuration it was trained with")


@pytest.mark.parametrize("name", ["metrics.json", "codes.csv"])
def test_a_damaged_file_is_named_when_it_is_read(spoilt, name):
    run = ppvae.load(spoilt)
    (spoilt / name).write_bytes(b"\xff\x00{")
    with pytest.raises(UserError, match=rf"{name}.* cannot be read") as error:
        getattr(run, name.partition(".")[0])
    assert "\n" not in str(error.value)


def test_the_library_finds_the_application_by_name(monkeypatch):
    assert application("finished").load is not None
    monkeypatch.setattr("ppvae.application.NAMES", ("absent_application",))
    with pytest.raises(UserError, match="none of absent_application is installed"):
        application("finished")


def test_an_application_that_lacks_something_else_says_so(tmp_path, monkeypatch):
    (tmp_path / "half.py").write_text("import absent_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("ppvae.application.NAMES", ("half",))
    with pytest.raises(ModuleNotFoundError, match="absent_library"):
        application("finished")
