"""What is seen in pictures, in numbers: for captions, and for those who do not see them."""

import numpy as np
import xarray as xr

from ppvae.interventions.held import PIXELS

__all__ = ["beside_data", "differ", "explained", "in_turn", "sentence", "shown", "tones"]

NAMED = 6  # things in a row at most
LEAST, NOISE = 1e-3, 1e-6  # differences that nobody sees, and those that are of rounding


def differ(images: xr.DataArray, dim: str) -> float:
    """How much images differ from each other along a dim: the mean standard deviation of a pixel."""
    return float(images.std(dim).mean())


def shown(size: float) -> str:
    """A change or difference of pixels in [0, 1], as far as anyone sees it."""
    if size < NOISE:
        return "0"
    return f"{size:.2g}" if size >= LEAST else f"less than {LEAST:g}"


def tones(images: xr.DataArray) -> str:
    """How light images are and how much they differ."""
    mean = float(images.mean())
    light = "dark" if mean < 1 / 3 else "light" if mean > 2 / 3 else "of middle tones"
    return f"They are {light} and differ from each other by {shown(differ(images, str(images.dims[0])))} a pixel."


def beside_data(drawn: xr.DataArray, images: xr.DataArray) -> str:
    """Draws (draw, …) beside images of the data (image, …): how much either differ, and how light they are."""
    return (
        f"they differ from each other by {shown(differ(drawn, 'draw'))} a pixel, training images by "
        f"{shown(differ(images, 'image'))}; a pixel's mean is {float(drawn.mean()):.2g} and {float(images.mean()):.2g}"
    )


def explained(images: xr.DataArray, redrawn: xr.DataArray) -> float:
    """Share of the variance of images (image, …) that others in their place explain; NaN of images that are all alike.

    One: they are the images; zero: no better than the mean image, below: worse.
    """
    true, again = (array.transpose("image", *PIXELS).values.astype(np.float64) for array in (images, redrawn))
    whole = ((true - true.mean(0)) ** 2).sum()
    return 1 - float(((again - true) ** 2).sum() / whole) if whole else float("nan")


def in_turn(things: list[str]) -> str:
    """``a, b and c``; of many the first and how many more."""
    named = things if len(things) <= NAMED else [*things[: NAMED - 1], f"{len(things) - NAMED + 1} more"]
    return " and ".join(filter(None, [", ".join(named[:-1]), *named[-1:]]))


def sentence(words: str) -> str:
    """With a capital, and a full stop."""
    return f"{words[0].upper()}{words[1:]}."
