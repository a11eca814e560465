"""Ranks of simulated latents, beside uniform ones."""

import math

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection, plot_ecdf_pit
from matplotlib.figure import Figure

from ppvae.diagnostics.rank_tests import calibration_tests, rank_entries
from ppvae.errors import check_whole
from ppvae.plots.require import require_dataset
from ppvae.plots.style import ACCENT, MUTED, finish, house_style, new_figure

__all__ = ["plot_calibration"]

COLUMNS = 4
SMALLEST_P = 0.001  # that is written out
SHAPES = "∿ first above, then below: too narrow    first below: too wide    hill or valley: shifted"


@house_style()
def plot_calibration(ranks: xr.Dataset, *, max_entries: int = 12) -> Figure:
    """A panel a latent: its ranks' distribution function less the uniform one, by ArviZ's ``plot_ecdf_pit``.

    ranks in (0, 1), (simulation, ...), as from ``rank_simulations``. The entries with the smallest of three p-values
    (``calibration_tests``) come first, no more than ``max_entries`` of them, that p-value beside the name; dots mark
    the ranks that ArviZ's own test of uniformity objects to. UserError for another Dataset or fewer than 20
    simulations.
    """
    check_whole("max_entries", max_entries, 1)
    names, values = rank_entries(require_dataset(ranks, "ranks"))
    tests = calibration_tests(ranks)
    p_values = np.min([tests[f"{name}_p"] for name in ("uniformity", "asymmetry", "width")], axis=0)
    worst = np.argsort(p_values, kind="stable")[:max_entries]
    data = xr.Dataset({"rank": (("entry", "simulation"), values[worst])}, coords={"entry": [names[i] for i in worst]})
    columns = min(COLUMNS, len(worst))
    rows = math.ceil(len(worst) / columns)
    figure = new_figure(2.5 * columns + 0.6, 2.1 * rows + 0.8)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(worst) :]:
        axes.remove()
    _draw(data, figure, panels.flat[: len(worst)])
    for axes, entry in zip(panels.flat, worst, strict=False):
        axes.set_title(f"{names[entry]}   {_chance(p_values[entry])}")
        axes.set_xlabel("rank among the guide's draws")
    for row in panels:
        row[0].set_ylabel("ECDF − uniform")
    figure.supxlabel(SHAPES, color=MUTED, fontsize=8.5)
    return finish(figure)


def _chance(p: float) -> str:
    """A p-value as far as anything hangs on it."""
    return f"p < {SMALLEST_P:g}" if p < SMALLEST_P else f"p = {p:.1g}"


def _draw(data: xr.Dataset, figure: Figure, panels: np.ndarray) -> None:
    """ArviZ draws into our axes, so that the figure is unknown to pyplot."""
    axes = np.empty(len(panels), dtype=object)
    axes[:] = list(panels)
    plot = xr.Dataset({"rank": ("entry", axes)}, coords={"entry": data["entry"]})
    tree = xr.DataTree.from_dict({"/": xr.Dataset({"figure": ((), np.array(figure, dtype=object))}), "plot": plot})
    visuals = {
        "ecdf_lines": {"color": ACCENT},
        "suspicious_points": {"color": ACCENT, "s": 6},
        "p_value_text": False,
        "title": False,
        "xlabel": False,
        "ylabel": False,
    }
    plot_ecdf_pit(
        xr.DataTree.from_dict({"prior_sbc": data}),
        sample_dims=["simulation"],
        plot_collection=PlotCollection(data, tree, aes={}, backend="matplotlib"),
        visuals=visuals,
    )
