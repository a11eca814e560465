"""A finished run as a folder to be given away: safetensors, plain text, and a model card."""

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ppvae.errors import UserError
from ppvae.files import explained, replace_atomically

from ..weights import EXPORTED, write_safetensors
from .card import model_card
from .run import LEVELS

if TYPE_CHECKING:
    from .run import FinishedRun

__all__ = ["export"]

ALONG = (
    "config.yaml",
    "metrics.json",
    "columns.csv",
    "codes.csv",
    "run.json",
    "training_scores.zarr",
    "path/kept.json",
)
LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+\-]*")


def export(run: "FinishedRun", folder: Path, *, license: str | None, posterior: bool) -> Path:
    """Write the folder, whole or not at all; see :meth:`FinishedRun.export`."""
    if license is not None and not (isinstance(license, str) and LICENCE.fullmatch(license)):
        raise UserError(f"license={license!r}: expected its short name, such as apache-2.0 or cc-by-4.0")
    with explained(folder):
        if (folder.is_dir() and any(folder.iterdir())) or folder.is_file():
            raise UserError(f"{folder} is there already: give a new folder, or an empty one, to export to")
    run.keep_training_scores()
    replace_atomically(folder, lambda temporary: _write(run, temporary, license, posterior=posterior))
    return folder


def _write(run: "FinishedRun", folder: Path, license: str | None, *, posterior: bool) -> None:
    folder.mkdir()
    write_safetensors(folder / EXPORTED, run.model, run.guide)
    (folder / "README.md").write_text(model_card(run, license))
    if run.level_names:
        (folder / LEVELS).write_text(json.dumps(run.level_names))
    for name in (*ALONG, "path/path.zarr", *(["posterior.zarr"] if posterior else [])):
        source, target = run.folder / name, folder / name
        if source.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
