"""The pictures in a folder and below it, each folder once, wherever links lead, or in a zip archive."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ppvae.datasets.zipped import members_of
from ppvae.errors import UserError

__all__ = ["LISTED", "PictureFiles", "image_files", "listed"]

logger = logging.getLogger(__name__)

LISTED = 8  # names that a line holds


@dataclass(frozen=True)
class PictureFiles:
    """Paths of pictures, their names below the top, and the folders' names that label them (none in a flat folder)."""

    paths: list[str]
    names: list[str]
    labels: list[str]


def image_files(top: Path) -> PictureFiles:
    """Pictures in alphabetical order, of a folder or of a .zip archive.

    As torchvision's ImageFolder, whose walk has no end where links make a circle. What lies beside them and looks like
    a picture too is passed over, which is logged. Errors: :class:`~ppvae.errors.UserError` for no folder, one without
    images or not to be read, and such a circle.
    """
    if top.is_file():
        return _of_archive(top)
    try:
        if not top.is_dir():
            raise UserError(
                f"no folder at {str(top)!r}: give one that holds images, a folder of images a class, or a .zip of those"
            )
        return _of_folder(top)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the folder {str(top)!r} cannot be read ({error}); mend or replace it") from None


def listed(names: Sequence[str]) -> str:
    """The first of many names, in one line."""
    return ", ".join(map(repr, names[:LISTED])) + (", …" if len(names) > LISTED else "")


def _of_archive(top: Path) -> PictureFiles:
    """Without the folder that holds all of them, as most archives have one."""
    names, before = members_of(top), f"{top}/"
    names = [name for name in names if _is_picture(name) or _looks_like_one(name)]
    while len(folders := {name.split("/")[0] for name in names if _is_picture(name)}) == 1:
        (folder,) = (f"{folder}/" for folder in folders)
        inside = [name.removeprefix(folder) for name in names if name.startswith(folder)]
        if not inside:
            break
        names, before = inside, before + folder
    return _labelled(top, names, before)


def _of_folder(top: Path) -> PictureFiles:
    entries = sorted(os.scandir(top), key=lambda entry: entry.name)
    folders = [entry.name for entry in entries if entry.is_dir()]
    flat = [entry.name for entry in entries if _is_picture(entry.name)]
    if not flat:
        return _labelled(top, [name for folder in folders for name in _below(top, folder)], f"{top}{os.sep}")
    names = [entry.name for entry in entries if not entry.is_dir()]
    return _labelled(top, [*names, *(f"{name}/" for name in folders)], f"{top}{os.sep}")


def _labelled(top: Path, names: Sequence[str], before: str) -> PictureFiles:
    """The pictures among the names: those of the top, else all, labelled by what comes before the first slash."""
    kept = [name for name in names if _is_picture(name)]
    if not kept:
        raise UserError(f"no images in {str(top)!r} or its folders: expected files of {', '.join(_kinds())}")
    if flat := [name for name in kept if "/" not in name]:
        kept, below = flat, sorted({name.split("/")[0] for name in names if "/" in name})
        if below:
            logger.warning("%s holds pictures itself: what is in its folders is passed over: %s", top, listed(below))
    others = [name for name in names if not name.endswith("/") and not _is_picture(name) and _looks_like_one(name)]
    if others:
        logger.warning(
            "%s: %d files are passed over, as no such pictures are read: %s", top, len(others), listed(others)
        )
    labels = [] if flat else [name.split("/")[0] for name in kept]
    for label in dict.fromkeys(labels):
        if not label.isprintable():
            raise UserError(f"the folder {before + label!r} labels its images: rename it to printable characters")
    return PictureFiles([before + name for name in kept], kept, labels)


def _below(top: Path, folder: str) -> list[str]:
    """Files of a class, folder by folder, each with its folders' names from the top on."""
    seen, found = set(), []
    for where, folders, files in os.walk(top / folder, followlinks=True, onerror=_raise):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in seen:
            raise UserError(f"the folder {where!r} is met a second time: remove the link that leads back to it")
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        found.append((where, sorted(files)))
    return [Path(where, name).relative_to(top).as_posix() for where, names in sorted(found) for name in names]


def _kinds() -> tuple[str, ...]:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return (*IMG_EXTENSIONS, ".gif")


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_kinds()) and not os.path.basename(name).startswith("._")  # macOS's shadows of files


def _looks_like_one(name: str) -> bool:
    from PIL import Image

    return Path(name).suffix.lower() in Image.registered_extensions()


def _raise(error: OSError) -> None:
    raise error
