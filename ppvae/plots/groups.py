"""How much each group of a hierarchy carries."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppvae.plots.require import require_dataset, require_variable
from ppvae.plots.style import FAINT, INK, MUTED, finish, house_style, new_figure, shades

__all__ = ["plot_groups"]


@house_style()
def plot_groups(groups: xr.Dataset, split: xr.Dataset | None = None) -> Figure:
    """KL of each group, a bar, coloured by its scale, above its active units of all its latents, top group at the left.

    groups: as from ``information_by_group``, over site. split: as from ``information_split``, whose ``site_gain``, what
    the likelihood reads of a group's own values over another image's, is drawn beside the bars. Dots: each map's KL.
    UserError for missing variables.
    """
    rate = require_variable(require_dataset(groups, "groups"), "rate", ("site",), "groups")
    sites, scales = [str(site) for site in rate["site"].values], [str(scale) for scale in groups["scale"].values]
    kinds = list(dict.fromkeys(scales))
    colours = dict(zip(kinds, shades(len(kinds)), strict=True))
    figure = new_figure(min(9.2, 2.2 + 0.42 * max(len(sites), 6)), 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_rates(above, rate, scales, colours)
    _draw_maps(above, groups)
    if split is not None and "site_gain" in split:
        gain = split["site_gain"].reindex(site=sites)
        above.plot(range(len(sites)), gain, "D", color=INK, markersize=4, label="gained by its own values")
    if above.get_legend_handles_labels()[1]:
        above.legend(frameon=False, fontsize=8, labelcolor=MUTED)
    _draw_units(below, groups, [colours[scale] for scale in scales])
    below.set_xticks(range(len(sites)), sites, rotation=90 if len(sites) > 12 else 0)
    figure.align_ylabels()
    return finish(figure)


def _draw_rates(axes: Axes, rate: xr.DataArray, scales: list[str], colours: dict[str, tuple]) -> None:
    for kind, colour in colours.items():
        places = [place for place, scale in enumerate(scales) if scale == kind]
        values = rate.values[places]
        label = f"{kind}: {values.sum():.4g} nats" if kind != "?" else f"others: {values.sum():.4g} nats"
        axes.bar(places, values, color=colour, width=0.8, label=label)
    axes.set_ylabel("KL (nats per image)")
    axes.grid(axis="y")
    axes.margins(x=0.02)


def _draw_maps(axes: Axes, groups: xr.Dataset) -> None:
    """Each latent's KL as a dot in its group's bar, where there are several."""
    if "map_rate" not in groups or groups.sizes["map"] < 2:
        return
    maps = groups["map_rate"].transpose("site", "map").values
    places = np.broadcast_to(np.arange(len(maps))[:, None], maps.shape)
    axes.plot(places[np.isfinite(maps)], maps[np.isfinite(maps)], ".", color=MUTED, markersize=3, label="each map")


def _draw_units(axes: Axes, groups: xr.Dataset, colours: list[tuple]) -> None:
    places = np.arange(groups.sizes["site"])
    axes.bar(places, groups["latents"].fillna(0), color=FAINT, width=0.8)
    axes.bar(places, groups["active_units"].fillna(0), color=colours, width=0.8)
    axes.set_ylabel("active units")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
