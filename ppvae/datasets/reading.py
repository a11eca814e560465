"""Files that are missing, broken or of another format end in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from ppvae.errors import UserError, one_line

__all__ = ["reading"]


@contextmanager
def reading(path: str | PathLike[str], what: str, remedy: str) -> Iterator[None]:
    """UserError that names ``path``, ``what`` it should be and the ``remedy``, for whatever reading it raises."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no {what} at {str(path)!r}: {remedy}") from None
    except Exception as error:  # bytes that nobody meant to write raise anything: struct's, zlib's, the parser's
        raise UserError(f"{str(path)!r} cannot be read as {what} ({one_line(error)}): {remedy}") from None
