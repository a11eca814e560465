"""Colours that tell kinds apart."""

from collections.abc import Sequence

import matplotlib

from ppvae.plots.style import shades

__all__ = ["Colours", "distinct"]

type Colours = Sequence[tuple[float, ...]]


def distinct(count: int) -> Colours:
    """So many colours that differ at a glance while there are any, then a rainbow."""
    known = matplotlib.color_sequences["tab10"]
    return known[:count] if count <= len(known) else shades(count, name="turbo", last=1.0)
