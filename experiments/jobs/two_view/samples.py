"""One two-view pair trained and shown: what each code draws, styles exchanged, and the bounds."""

from collections.abc import Mapping
from pathlib import Path

import torch
import xarray as xr
from omegaconf import DictConfig, OmegaConf

from guides import RelaxedClusters
from ppvae import redraw, transfer_style, vary
from ppvae.plots import plot_image_blocks, plot_style_transfer

from ...figures import reconstructions_figure
from ...history_figures import terms_figure
from ...provenance import command_line, environment
from ...report import ReportFigure, Table, write_report
from ...seen import differ, in_turn, shown
from .runs import (
    BOUNDS,
    RATES,
    TwoViewRun,
    bounds,
    checked,
    draws_measured,
    last_epoch,
    train_pair,
    write_metrics,
)

__all__ = ["figures_of_codes", "run"]

PIXELS = ("channel", "row", "column")
_VIEWS = "The distortion is of image and view together."


def run(configuration: DictConfig, directory: Path) -> Path:
    """Train one pair and write its report (Fig. 2 of the paper and a grid of exchanged styles); returns the page."""
    parts, images = checked(configuration, test_split=False)
    trained = train_pair(parts, images, configuration, directory, resume=configuration.resume is not None)
    metrics = bounds(trained, configuration)
    write_metrics(trained, metrics, directory)
    history = trained.history
    told = metrics | last_epoch(history)
    rows = [(label, told[name]) for name, label in (BOUNDS | RATES).items() if name in told]
    data = trained.parts.data.description
    page = write_report(
        directory,
        title=f"{(configuration.name or directory.parent.name).replace('_', ' ')}, seed {configuration.seed}",
        lead=f"{data[0].upper()}{data[1:]}. Trained for {history.sizes['epoch']} epochs in "
        f"{float(history['seconds'].sum()):.0f} s ({history.attrs['execution']} steps).",
        command=command_line(),
        configuration=OmegaConf.to_yaml(configuration, resolve=True),
        summary={label: value for label, value in rows if label in RATES.values()},
        tables=[Table("Bounds and rates", ("what", "here"), rows, _caption(trained, configuration))],
        figures=[*figures_of_codes(trained, configuration.seed), terms_figure(history, more=_VIEWS)],
        found=_notes(trained),
        environment=environment(configuration.seed),
    )
    print(*(f"{label}: {value:.6g}" for label, value in rows), f"Report: {page}", sep="\n")
    return page


def figures_of_codes(run: TwoViewRun, seed: int) -> list[ReportFigure]:
    """Reconstructions, Fig. 2 (one code varied, the other held) and styles exchanged, of the images measured."""
    model, guide, images = run.model, run.parts.guide, run.test.observed(slice(18))
    seen, redrawn = _array(images[:10], "image"), _array(redraw(model, guide, images[:10], seed=seed), "image")
    blocks = {"z_local": vary(model, 1, 100, seed=seed), "z_global": vary(model, 100, 1, seed=seed)}
    styles, tops = _array(images[10:18], "style"), _array(images[:10], "image")
    transferred = transfer_style(model, guide, images[:10], images[10:18], seed=seed)
    words = "Images above, below redrawn from one draw of both codes."
    return [
        reconstructions_figure(seen, redrawn, words),
        _codes(blocks, model.transformation),
        _styles(transferred, tops, styles),
    ]


def _codes(blocks: Mapping[str, xr.DataArray], view: object | None) -> ReportFigure:
    """What each code draws: blocks (z_local, z_global, …) of a hundred images in which it alone varies."""
    spreads = [f"{shown(differ(block, code))} where {code} varies" for code, block in blocks.items()]
    levels = [
        f"{shown(differ(block.mean(['row', 'column']), code))} where {code} varies" for code, block in blocks.items()
    ]
    seen = f"a pixel differs by {in_turn(spreads)}, an image's mean colour by {in_turn(levels)}"
    caption = f"A hundred images the model draws with one code held (the paper's Fig. 2): {seen}."
    if view is not None:
        caption += f" What the view, {type(view).__name__}, leaves should be z_local's, all else z_global's."
    other = {"z_local": "z_global", "z_global": "z_local"}
    squares = {f"{code} varied, one {other[code]}": _square(block) for code, block in blocks.items()}
    drawn = plot_image_blocks(squares, per_line=2, varied=None)
    return ReportFigure("codes", caption, drawn, "What each code draws", f"Two squares of ten by ten images: {seen}.")


def _styles(transferred: xr.DataArray, images: xr.DataArray, styles: xr.DataArray) -> ReportFigure:
    """Each image redrawn in each style, and which of the two it resembles more."""
    far = [
        float(abs(transferred.mean(["row", "column"]) - one.mean(["row", "column"])).mean()) for one in (images, styles)
    ]
    seen = f"in mean colour they are {shown(far[0])} off the image on top and {shown(far[1])} off the one at the left"
    caption = f"Images redrawn with z_global of the image on top and z_local of the image at the left: {seen}."
    alt = f"{styles.sizes['style']} rows of {images.sizes['image']} redrawn images; {seen}."
    drawn = plot_style_transfer(transferred, images, styles)
    return ReportFigure("style_transfer", caption, drawn, "Styles exchanged", alt)


def _array(images: torch.Tensor, dim: str) -> xr.DataArray:
    return xr.DataArray(images.numpy(), dims=(dim, *PIXELS))


def _square(block: xr.DataArray) -> xr.DataArray:
    """One line or column of a hundred images as ten lines of ten."""
    pixels = block.values.reshape(10, 10, *block.shape[2:])
    return xr.DataArray(pixels, dims=block.dims)


def _caption(run: TwoViewRun, configuration: DictConfig) -> str:
    split = "test" if configuration.held_out.images else "training"
    return (
        f"Bounds over {len(run.test)} {split} images, the last line of each pair with {draws_measured(configuration)} "
        "draws. Training maximises a bound of log p(x, x̂), image and view together; for the image alone the view is "
        "side randomness of the guide. Rates are those of the last epoch's training images."
    )


def _notes(run: TwoViewRun) -> list[str]:
    if not isinstance(getattr(run.parts.guide, "clusters", None), RelaxedClusters):
        return []
    return [
        "The guide's clusters were relaxed in training, where the objective is no bound. The bounds above are of the "
        "discrete model: the guide's categorical, summed out or drawn."
    ]
