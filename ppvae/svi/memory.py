"""Batches that are too large for the memory: what would fit is found and said."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ppvae.errors import UserError
from ppvae.memory import is_out_of_memory

__all__ = ["memory_explained"]


@contextmanager
def memory_explained(batch_size: int, attempt: Callable[[int], object]) -> Iterator[None]:
    """One-line UserError, with a batch size that fits, in place of an allocator's error.

    ``attempt`` takes a step on so many images, to see whether they fit; halves are tried, one after another.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fits = _largest(batch_size, attempt)
        advice = (
            "a smaller network" if fits is None else f"batch_size={fits}, which fits, parts by accumulate, or recompute"
        )
        raise UserError(f"batch_size={batch_size} does not fit into the memory; give {advice}") from None


def _largest(batch_size: int, attempt: Callable[[int], object]) -> int | None:
    size = batch_size // 2
    while size:
        try:
            attempt(size)
            return size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size //= 2
    return None
