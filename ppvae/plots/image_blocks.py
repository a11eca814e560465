"""Blocks of drawn images: columns vary one code, rows the other (the auxiliary-task paper, Figs. 2, 5 and 6)."""

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.require import require_array
from ppvae.plots.style import MUTED, finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles

__all__ = ["plot_image_blocks"]

DIMS = ("z_local", "z_global", "channel", "row", "column")
WIDTH = 9.2  # inches of a page


@house_style()
def plot_image_blocks(
    blocks: Mapping[str, xr.DataArray], *, per_line: int = 4, varied: tuple[str, str] | None = ("z_global", "z_local")
) -> Figure:
    """One panel a block, under its name: z_global varies to the right, z_local downwards.

    ``varied`` names what does, at the figure's sides; None where neither is what varies.
    blocks: name → (z_local, z_global, channel, row, column) in [0, 1], as from ``vary``, all of one shape.
    UserError for none, other dims or different shapes. Source: Anonymous 2019, "Explicit information placement on
    latent variables using auxiliary generative modelling task", Figs. 2, 5 and 6.
    """
    arrays = {name: require_array(block, DIMS, f"block {name!r}") for name, block in blocks.items()}
    if len({array.shape for array in arrays.values()}) != 1:
        shapes = sorted({array.shape for array in arrays.values()})
        raise UserError(f"blocks: got shapes {shapes}, expected one or more blocks of one shape")
    first = next(iter(arrays.values()))
    places = min(len(arrays), per_line)
    lines = -(-len(arrays) // places)
    side = min(WIDTH / places, 0.6 * first.sizes["z_global"])
    shape = first.sizes["z_local"] * first.sizes["row"] / (first.sizes["z_global"] * first.sizes["column"])
    figure = new_figure(side * places, (side * shape + 0.3) * lines + 0.2)
    grid = figure.subplots(lines, places, squeeze=False)
    for axes in grid.flat[len(arrays) :]:
        axes.remove()
    for axes, (name, array) in zip(grid.flat, arrays.items(), strict=False):
        draw_tiles(axes, array.drop_vars(array.coords).rename(z_local="line", z_global="place"))
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=9)
    if varied is not None:
        figure.supxlabel(f"{varied[0]} →", color=MUTED, fontsize=8.5)
        figure.supylabel(f"← {varied[1]}", color=MUTED, fontsize=8.5)
    return finish(figure)
