"""Folders of configurations that a command line adds: what they may say, and that it is read before Hydra obeys."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments.benchmarks.hostile_configurations import FOLDERS, load_folder
from experiments.configuration_folders import check_composed, check_configuration_folders
from ppvae import UserError

HARMLESS = """# @package _global_
defaults:
  - override /network: mlp
trainer: {epochs: 1}
likelihood: {decoder: "${network.decoder}"}
models: {wide: [objective.beta=2, latents=30]}
"""


def written(folder: Path, text: str, name: str = "experiment/mine.yaml") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def check(folder: Path, *arguments: str) -> None:
    check_configuration_folders(["--config-dir", str(folder), "experiment=mine", *arguments])


@pytest.mark.parametrize("name", FOLDERS)
def test_hostile_folders_end_in_one_line_that_names_the_file(tmp_path, name):
    FOLDERS[name](tmp_path)
    with pytest.raises(UserError, match=r"\.yaml' is no configuration to go by") as caught:
        load_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_harmless_folders_and_the_users_own_words_pass(tmp_path):
    check(written(tmp_path, HARMLESS))
    written(tmp_path, "# @package _global_\nguide: {_target_: mine.W}\nhydra: {job: {chdir: true}}\n")
    with pytest.raises(UserError, match=r"allow=\[hydra\]"):
        check(tmp_path, "guide._target_=mine.W", "name=hydra")
    with pytest.raises(UserError, match=r"allow=\[mine\]"):
        check(tmp_path, "allow=[hydra]", "name=mine.W")
    check(tmp_path, "allow=[hydra,mine]")
    check(tmp_path, "+allow=[hydra]", "guide={_target_: mine.W}")
    check(tmp_path, "allow=[hydra]", "guide._target_=mine.V,mine.W")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("# @package hydra.job_logging\nroot: {}\n", "Hydra"),
        ("defaults: [{override /hydra/launcher: mine}]\n", "Hydra"),
        ("defaults: [base@hydra.callbacks]\n", "Hydra"),
        ("resume: runs/x\n", "output folder"),
        ("name: ${x}\n", "output folder"),
        ("models: {a: ['hydra.run.dir=/x']}\n", "command line alone"),
        ("models: {a: ['allow=[os]']}\n", "command line alone"),
        ("models: {a: ['+guide={_target_: os.system}']}\n", "os.system"),
        ("models: {a: ['job=os.system,mine.run']}\n", "command line alone"),
        ("a: &a 1\nb: *a\n", "anchor"),
    ],
)
def test_what_a_folder_may_not_say(tmp_path, text, match):
    with pytest.raises(UserError, match=match):
        check(written(tmp_path, text))


def test_every_way_to_another_folder_is_looked_through(tmp_path):
    written(tmp_path, "job: os.system\n")
    for arguments in (
        ["--config-dir", str(tmp_path)],
        ["-cd", str(tmp_path)],
        ["--config-path", str(tmp_path)],
        ["--config-path", os.path.relpath(tmp_path, Path(check_composed.__code__.co_filename).parent)],
        [f"hydra.searchpath=[file://{tmp_path}]"],
        [f"hydra.searchpath=[pkg://mine,'{tmp_path}']"],
    ):
        with pytest.raises(UserError, match=r"job=os\.system"):
            check_configuration_folders(arguments)
    for arguments, match in (
        (["--experimental-rerun", "x.pickle"], "unpickles"),
        (["--config-name", "../x"], "config-name"),
        (["--config-name", "/x"], "config-name"),
    ):
        with pytest.raises(UserError, match=match):
            check_configuration_folders(arguments)
    check_configuration_folders(["seed=1", "hydra.searchpath=[pkg://mine]", "--multirun"])


def test_growth_over_several_files_is_noticed_when_they_are_composed():
    growing = {f"k{k}": [f"${{k{k + 1}}}"] * 9 for k in range(20)} | {"k20": "ha", "name": "${oc.env:HOME}"}
    with pytest.raises(UserError, match="grows to more than"):
        check_composed(OmegaConf.create(growing))
    check_composed(OmegaConf.create({"name": "${oc.env:HOME}", "a": "${name}"}))


def test_the_command_line_obeys_no_strangers_folder(tmp_path):
    """A callback of Hydra's would run before anything of ours."""
    written(tmp_path, "# @package _global_\nhydra: {callbacks: {x: {_target_: os.system, command: touch owned}}}\n")
    command = [sys.executable, "-m", "experiments", "--config-dir", str(tmp_path), "+experiment=mine", "seed=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "mine.yaml" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"experiment"}
