"""One two-view pair trained and shown: what each code draws, styles exchanged, and the bounds."""

from pathlib import Path

import torch
import xarray as xr
from omegaconf import DictConfig, OmegaConf

from guides import RelaxedClusters
from ppvae import redraw, transfer_style, vary
from ppvae.plots import plot_image_blocks, plot_rate_distortion, plot_reconstructions, plot_style_transfer

from ...provenance import command_line, environment
from ...report import ReportFigure, Table, write_report
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
        figures=[*figures_of_codes(trained, configuration.seed), _rate_distortion(history)],
        found=_notes(trained),
        environment=environment(configuration.seed),
    )
    print(*(f"{label}: {value:.6g}" for label, value in rows), f"Report: {page}", sep="\n")
    return page


def figures_of_codes(run: TwoViewRun, seed: int) -> list[ReportFigure]:
    """Reconstructions, Fig. 2 (one code varied, the other held) and styles exchanged, of the images measured."""
    model, guide, images = run.parts.model, run.parts.guide, run.test.observed(slice(18))
    shown = [_array(part, "image") for part in (images[:10], redraw(model, guide, images[:10], seed=seed))]
    hundred = vary(model, 1, 100, seed=seed), vary(model, 100, 1, seed=seed)
    squares = {"z_local varied, one z_global": hundred[0], "z_global varied, one z_local": hundred[1]}
    return [
        ReportFigure(
            "reconstructions",
            "Images above, below redrawn from one draw of both codes.",
            plot_reconstructions(*shown),
        ),
        ReportFigure(
            "codes",
            "A hundred images the model draws (the paper's Fig. 2). Left: one z_global, a hundred z_local; the shape "
            "should stay while colours change. Right: one z_local, a hundred z_global; the colours should stay.",
            plot_image_blocks({name: _square(block) for name, block in squares.items()}, per_line=2, varied=None),
            "What each code draws",
        ),
        ReportFigure(
            "style_transfer",
            "Images redrawn with z_global of the image on top and z_local of the image at the left.",
            plot_style_transfer(
                transfer_style(model, guide, images[:10], images[10:18], seed=seed),
                _array(images[:10], "image"),
                _array(images[10:18], "style"),
            ),
            "Styles exchanged",
        ),
    ]


def _rate_distortion(history: xr.Dataset) -> ReportFigure:
    caption = "Rate and distortion, epoch means in nats per image; the distortion is of image and view together."
    return ReportFigure("rate_distortion", caption, plot_rate_distortion(history), "Rate and distortion over training")


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
