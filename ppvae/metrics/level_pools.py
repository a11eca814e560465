"""Images alike in one factor: where a metric of groups of images draws its groups."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from ppvae.errors import UserError

__all__ = ["LevelPool", "pool_levels"]


@dataclass(frozen=True)
class LevelPool:
    """The images sorted by one factor's level, and for each of them where its level starts and how many share it."""

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray
    paired: np.ndarray  # positions in `order` of the images that have a partner

    def pairs(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Images (shape), and for each a different image of its level."""
        first = self._first(shape, rng)
        start, count = self.start[first], self.count[first]
        # a step of 1 … count - 1 around the ring of the level: every other image alike likely
        second = start + (first - start + rng.integers(1, count)) % count
        return self.order[first], self.order[second]

    def groups(self, groups: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """Images (group, size), those of a group drawn with replacement from the level of a random image."""
        first = self._first((groups,), rng)[:, None]
        return self.order[self.start[first] + rng.integers(0, self.count[first], (groups, size))]

    def _first(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.paired[rng.integers(0, len(self.paired), shape)]


def pool_levels(name: Hashable, levels: np.ndarray) -> LevelPool:
    """The pool of one factor's levels (image); UserError where more than half of the images are alone at theirs."""
    order = np.argsort(levels, kind="stable")
    _, start, count = np.unique(levels[order], return_index=True, return_counts=True)
    start, count = np.repeat(start, count), np.repeat(count, count)
    paired = np.flatnonzero(count > 1)
    if 2 * len(paired) < len(levels):
        raise UserError(
            f"factor {name!r}: {len(levels) - len(paired)} of {len(levels)} images are alone at their level, "
            "expected at most half: give more images or coarser levels"
        )
    return LevelPool(order, start, count, paired)
