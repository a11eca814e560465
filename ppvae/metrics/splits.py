"""Images that train a metric's classifiers and others that evaluate them."""

from dataclasses import dataclass

import numpy as np

from ppvae.errors import UserError
from ppvae.metrics.presets import SplitPreset

__all__ = ["Split", "split_images"]


@dataclass(frozen=True)
class Split:
    """Disjoint images, in random order."""

    train: np.ndarray
    evaluate: np.ndarray

    def said(self) -> dict[str, int]:
        """How many images there are on each side, for a score's attributes."""
        return {"train_images": len(self.train), "evaluation_images": len(self.evaluate)}


def split_images(levels: dict[str, np.ndarray], numbers: SplitPreset, rng: np.random.Generator) -> Split:
    """As many images as the preset says, or, of fewer, all of them in the preset's proportion.

    UserError where a factor then has one level among the images to train on.
    """
    images = len(next(iter(levels.values())))
    used = min(images, numbers.train + numbers.evaluate)
    train = min(max(1, round(used * numbers.train / (numbers.train + numbers.evaluate))), used - 1)
    order = rng.permutation(images)[:used]
    for name, array in levels.items():
        if len(np.unique(array[order[:train]])) < 2:
            raise UserError(
                f"factor {name!r} has one level in the {train} images to train on, expected two or more: "
                "give more images or drop it from factors"
            )
    return Split(order[:train], order[train:])
