"""A finished run as a folder to be given away: safetensors, plain text, and a model card."""

import json
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from ppvae.errors import UserError
from ppvae.files import explained, replace_atomically

from ..plain_yaml import read_plain_yaml
from ..record import read_record
from ..weights import EXPORTED, write_safetensors
from .card import model_card
from .run import LEVELS
from .scoring import TRAINING, write_scores_alone
from .without_folders import configuration_without_folders, record_without_folders

if TYPE_CHECKING:
    from .run import FinishedRun

__all__ = ["export"]

logger = logging.getLogger(__name__)

ALONG = ("metrics.json", "columns.csv", "path/kept.json", "path/path.zarr")
OF_DATA = {
    LEVELS: "the names of the labels that may be given",
    "columns.csv": "the name, mean and scale of each column",
    TRAINING: "log p(x) of training images, sorted: `score` ranks others among them",
    "codes.csv": "a row a training image: its file, factors and code",
    "posterior.zarr": "training images, with their posterior",
}
"""What a folder may hold of the training data."""

LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+\-]*")


def export(run: "FinishedRun", folder: Path, *, license: str | None, posterior: bool, codes: bool) -> Path:
    """Write the folder, whole or not at all; see :meth:`FinishedRun.export`."""
    if license is not None and not (isinstance(license, str) and LICENCE.fullmatch(license)):
        raise UserError(f"license={license!r}: expected its short name, such as apache-2.0 or cc-by-4.0")
    asked = [name for name, wanted in {"codes.csv": codes, "posterior.zarr": posterior}.items() if wanted]
    for name in asked:
        if not (run.folder / name).exists():
            raise UserError(f"{run.folder} has no {name} that could go along; leave {name.partition('.')[0]} out")
    with explained(folder):
        if (folder.is_dir() and any(folder.iterdir())) or folder.is_file():
            raise UserError(f"{folder} is there already: give a new folder, or an empty one, to export to")
    run.keep_training_scores()
    replace_atomically(folder, lambda temporary: _write(run, temporary, license, (*ALONG, *asked)))
    held = [f"{name}, {what}" for name, what in _held(folder).items()]
    logger.info("of the training data %s holds %s", folder, "; ".join(held) or "nothing")
    return folder


def _write(run: "FinishedRun", folder: Path, license: str | None, along: Sequence[str]) -> None:
    folder.mkdir()
    write_safetensors(folder / EXPORTED, run.model, run.guide)
    content, _ = read_plain_yaml(run.folder / "config.yaml")
    OmegaConf.save(OmegaConf.create(configuration_without_folders(content)), folder / "config.yaml")
    if record := record_without_folders(read_record(run.folder)):
        (folder / "run.json").write_text(json.dumps(record, indent=1))
    if run.level_names:
        (folder / LEVELS).write_text(json.dumps(run.level_names))
    for name in along:
        source, target = run.folder / name, folder / name
        if source.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    write_scores_alone(run.folder, folder)
    (folder / "README.md").write_text(model_card(run, license, _held(folder)))


def _held(folder: Path) -> dict[str, str]:
    return {name: what for name, what in OF_DATA.items() if (folder / name).exists()}
