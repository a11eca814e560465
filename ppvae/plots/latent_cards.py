"""A card for each latent: what it changes in the image, what it costs, which factor it follows."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.errors import check_whole
from ppvae.plots.labels import latent_names, number
from ppvae.plots.require import require_array, require_dataset, require_variable
from ppvae.plots.style import ACCENT, MUTED, finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles, tile_ticks

__all__ = ["plot_latent_cards"]

DIMS = ("latent", "step", "channel", "row", "column")
STEPS = 5
SMALLEST_SHARE = 0.1  # of a latent's importance, below which a factor is not named
TILE, LOWEST = 0.8, 0.5  # inches: the width of a tile, unless it were too low for the words


@house_style()
def plot_latent_cards(
    traversal: xr.DataArray, latents: xr.Dataset, importance: xr.DataArray | None = None, *, most: int = 15
) -> Figure:
    """A row a latent, in the traversal's order: redrawn from low to high, what changed between the ends, the numbers.

    traversal (latent, step, channel, row, column) as from ``traverse``; latents as from ``informative_latents``: ``kl``
    (latent), nats, and ``relative``, the rise of the squared error without the latent, are said where they are there;
    importance (factor, latent), not negative, as in ``dci_metric``: the factors that hold a tenth or more of the
    latent's importance are named. No more than ``most`` latents. UserError for other dims, or latents that are not the
    traversal's.
    """
    check_whole("most", most, 1)
    images = require_array(traversal, DIMS, "traversal").isel(latent=slice(most))
    numbers = require_dataset(latents, "latents").reindex(latent=images["latent"].values)
    steps = np.unique(np.linspace(0, images.sizes["step"] - 1, min(STEPS, images.sizes["step"])).round().astype(int))
    tiles = _with_change(images.isel(step=steps))
    lines, places = tiles.sizes["line"], tiles.sizes["place"]
    shape = images.sizes["row"] / images.sizes["column"]
    width = max(TILE, LOWEST / shape)
    figure = new_figure(width * places + 4.2, width * shape * lines + 0.5)
    pictures, words = figure.subplots(1, 2, width_ratios=[width * places, 3.2])
    draw_tiles(pictures, tiles)
    ends = ["low", *[""] * (places - 3), "high"] if places > 2 else [""] * (places - 1)
    tile_ticks(pictures, lines=latent_names(images), places=[*ends, "change"])
    _write(words, numbers, _followed(images, importance), lines)
    return finish(figure)


def _with_change(images: xr.DataArray) -> xr.DataArray:
    """The steps, then the absolute difference of the ends, the largest of all latents at full brightness."""
    plain = images.drop_vars(images.coords)
    change = abs(plain.isel(step=-1) - plain.isel(step=0))
    change = change / max(float(change.max()), 1e-6)
    return xr.concat([plain, change.expand_dims("step")], "step").rename(latent="line", step="place")


def _followed(images: xr.DataArray, importance: xr.DataArray | None) -> list[str]:
    if importance is None:
        return [""] * images.sizes["latent"]
    found = require_variable(importance.to_dataset(name="importance"), "importance", ("factor", "latent"), "importance")
    return [_factors(found.sel(latent=latent)) for latent in images["latent"].values]


def _factors(importance: xr.DataArray) -> str:
    """``hue 92 %, x 12 %``: shares of one latent's importance, largest first."""
    total = float(importance.sum())
    if not total > 0:
        return "follows no factor"
    shares = (importance / total).sortby(importance, ascending=False)
    named = [f"{share['factor'].item()} {float(share):.0%}" for share in shares if share >= SMALLEST_SHARE]
    return "follows " + ", ".join(named)


def _write(axes: Axes, numbers: xr.Dataset, followed: list[str], lines: int) -> None:
    axes.set(xlim=(0, 1), ylim=(lines - 0.5, -0.5))
    axes.axis("off")
    for line, factors in enumerate(followed):
        facts = []
        if "kl" in numbers:
            facts.append(f"KL {number(float(numbers['kl'][line]))} nats")
        if "relative" in numbers:
            facts.append(f"error {float(numbers['relative'][line]):+.0%} without it".replace("-", "−"))
        axes.text(0, line - 0.14, ", ".join(facts), color=ACCENT, va="center", fontsize=9.5)
        axes.text(0, line + 0.16, factors, color=MUTED, va="center", fontsize=9)
