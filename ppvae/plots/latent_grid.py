"""What a two-latent model draws over the plane of its latents (Levy's report, Fig. 6)."""

import xarray as xr
from matplotlib.figure import Figure

from ppvae.plots.labels import coordinate
from ppvae.plots.require import require_array
from ppvae.plots.style import finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles, tile_ticks

__all__ = ["plot_latent_grid"]

DIMS = ("z1", "z0", "channel", "row", "column")
LABEL = 0.36  # inches that a number takes


@house_style()
def plot_latent_grid(grid: xr.DataArray) -> Figure:
    """One picture for each pair of values, z0 to the right and z1 upwards.

    grid (z1, z0, channel, row, column) in [0, 1], with the values as coordinates, as from ``latent_grid``.
    UserError for other dims. Source: Levy, Fig. 6.
    """
    images = require_array(grid, DIMS, "grid").isel(z1=slice(None, None, -1))
    across, up = images.sizes["z0"], images.sizes["z1"]
    tile = min(0.6, 6.6 / across)
    figure = new_figure(tile * across + 0.9, tile * up * images.sizes["row"] / images.sizes["column"] + 0.6)
    axes = figure.subplots()
    draw_tiles(axes, images.drop_vars(images.coords).rename(z1="line", z0="place"))
    tile_ticks(axes, lines=_names(images, "z1", tile), places=_names(images, "z0", tile))
    axes.set(xlabel="z0", ylabel="z1")
    return finish(figure)


def _names(images: xr.DataArray, dim: str, tile: float) -> list[str]:
    """The values of a latent, only some of them where the tiles are narrower than a number."""
    apart = -(-LABEL // tile)
    return [_short(value) if place % apart == 0 else "" for place, value in enumerate(coordinate(images, dim))]


def _short(value: float) -> str:
    return f"{value:.1f}".replace("-", "−") if abs(value) >= 0.05 else "0"
