"""Files that are missing, broken or of another format end in one line."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from ppvae.errors import UserError

__all__ = ["reading"]


@contextmanager
def reading(path: str | PathLike[str], what: str, remedy: str) -> Iterator[None]:
    """UserError that names `path`, `what` it should be and the `remedy`, for whatever reading it raises."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no {what} at {str(path)!r}: {remedy}") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{str(path)!r} cannot be read as {what} ({reason}): {remedy}") from None
