"""The images in a folder and below it, each folder once, wherever links lead."""

import os
from pathlib import Path

from ppvae.errors import UserError

__all__ = ["image_files"]


def image_files(folder: Path) -> tuple[list[str], list[str]]:
    """Paths of images in alphabetical order, and the folders' names that label them (none in a flat folder).

    As torchvision's ImageFolder, whose walk has no end where links make a circle. Errors:
    :class:`~ppvae.errors.UserError` for no folder, one without images or not to be read, and such a circle.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    try:
        if not folder.is_dir():
            raise UserError(f"no folder at {str(folder)!r}: give one that holds images, or a folder of images a class")
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        flat = [str(folder / entry.name) for entry in entries if entry.name.lower().endswith(IMG_EXTENSIONS)]
        if flat:
            return flat, []
        classes = [entry.name for entry in entries if entry.is_dir()]
        found = [(path, name) for name in classes for path in _below(folder / name, IMG_EXTENSIONS)]
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the folder {str(folder)!r} cannot be read ({error}); mend or replace it") from None
    if not found:
        kinds = ", ".join(IMG_EXTENSIONS)
        raise UserError(f"no images in {str(folder)!r} or its folders: expected files of {kinds}")
    for name in dict.fromkeys(name for _, name in found):
        if not name.isprintable():
            raise UserError(f"the folder {str(folder / name)!r} labels its images: rename it to printable characters")
    return [path for path, _ in found], [name for _, name in found]


def _below(top: Path, kinds: tuple[str, ...]) -> list[str]:
    """Images of a class, folder by folder."""
    seen, found = set(), []
    for where, folders, files in os.walk(top, followlinks=True, onerror=_raise):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in seen:
            raise UserError(f"the folder {where!r} is met a second time: remove the link that leads back to it")
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        found.append((where, sorted(name for name in files if name.lower().endswith(kinds))))
    return [os.path.join(where, name) for where, names in sorted(found) for name in names]


def _raise(error: OSError) -> None:
    raise error
