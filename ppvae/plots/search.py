"""A search over one number: the score of each value tried, above the rate it leaves."""

import xarray as xr
from matplotlib.figure import Figure

from ppvae.plots.labels import number
from ppvae.plots.require import require_variable
from ppvae.plots.style import ACCENT, INK, MUTED, finish, house_style, new_figure

__all__ = ["plot_search"]


@house_style()
def plot_search(runs: xr.Dataset) -> Figure:
    """Score above rate, by the value tried on a logarithmic scale, the best value marked.

    runs: ``score`` and ``rate`` (value), values positive; the attribute ``long_name`` of ``value``, ``score`` and
    ``rate`` labels the axes. UserError for missing variables or other dims.
    """
    curves = {name: require_variable(runs, name, ("value",), "runs").sortby("value") for name in ("score", "rate")}
    values = curves["score"]["value"].values
    figure = new_figure(7.4, 4.8)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, (name, curve), colour in zip(panels, curves.items(), (ACCENT, INK), strict=True):
        axes.plot(values, curve.values, color=colour, marker="o", markersize=5)
        axes.set_ylabel(curve.attrs.get("long_name", name))
        axes.grid(axis="y")
    best = int(curves["score"].values.argmax())
    for axes in panels:
        axes.axvline(values[best], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
    text = f"best: {number(values[best], 3)}"
    style = {"ha": "center", "va": "bottom", "fontsize": 9, "color": MUTED}
    panels[0].annotate(text, (values[best], 1), (0, 3), ("data", "axes fraction"), "offset points", **style)
    panels[1].set_xscale("log")
    panels[1].set_xlabel(runs["value"].attrs.get("long_name", "value"))
    return finish(figure)
