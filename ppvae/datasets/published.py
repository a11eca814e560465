"""What torchvision's readers raise, as one line with the command that fetches the files."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from ppvae.errors import UserError

__all__ = ["published"]


@contextmanager
def published(name: str, split: str, root: str, download: bool) -> Iterator[None]:
    """UserError for missing or broken files of the source `name`, with what to type to have them."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # torchvision, pickle, scipy and PIL each raise their own on a broken file
        reason = " ".join((str(error) or type(error).__name__).split()).split(". You can use")[0].rstrip(".")
        remedy = "look at the connection, or delete broken files there" if download else _commands(name, split, root)
        raise UserError(f"{name} {split!r} cannot be read from root={str(root)!r} ({reason}): {remedy}") from None


def _commands(name: str, split: str, root: str) -> str:
    options = [f"data.split={split}"] * (split != "train") + [f"data.root={shlex.quote(str(root))}"] * (root != "data")
    command = " ".join(["uv run -m experiments", f"data={name}", *options, "data.download=true"])
    python = f"ppvae.datasets.{name}({split!r}, root={str(root)!r}, download=True)"
    return f"download it with `{command}` or {python}; delete broken files first"
