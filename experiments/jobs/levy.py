"""Levy's report, Fig. 6: two latents, the letters A to D, three weights of the KL."""

from pathlib import Path

import xarray as xr
from omegaconf import DictConfig

from ppvae import read_posterior
from ppvae.interventions import latent_grid
from ppvae.plots import plot_codes, plot_latent_grid

from ..codes import sampled_codes
from ..report import ReportFigure
from ..selecting import trained_parts

__all__ = ["figures"]


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Codes by letter of all models, and the plane of the latents as each model draws it; the first seed."""
    seed = configuration.seeds[0]
    runs = {name: directory / name / f"seed{seed}" for name in configuration.models}
    trees = {name: read_posterior(run / "posterior.zarr") for name, run in runs.items()}
    codes = {name: sampled_codes(tree) for name, tree in trees.items()}
    labels = next(iter(trees.values()))["constant_data"]["label"].load()
    scatter = ReportFigure(
        "codes",
        f"One draw from q(z | x) of each image, by letter, seed {seed}. The circles hold half and 95 % of the prior: "
        "with β = 0 nothing keeps the codes near it, with a large β the letters melt into it.",
        plot_codes(codes, labels),
        "Codes by letter",
    )
    return [scatter, *(_plane(name, run, configuration) for name, run in runs.items())]


def _plane(name: str, run: Path, configuration: DictConfig) -> ReportFigure:
    caption = "The mean of p(x | z) over the plane of the two latents, at steps of equal prior probability."
    grid = plot_latent_grid(_grid(run, configuration))
    return ReportFigure(f"plane_{name}", caption, grid, f"The latent plane: {name}")


def _grid(run: Path, configuration: DictConfig) -> xr.DataArray:
    return latent_grid(trained_parts(run, configuration).model)
