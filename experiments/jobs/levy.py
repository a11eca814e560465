"""Levy's report, Fig. 6: two latents, the letters A to D, three weights of the KL."""

import math
from pathlib import Path

import xarray as xr
from omegaconf import DictConfig

from ppvae import read_posterior
from ppvae.interventions import latent_grid
from ppvae.plots import plot_codes, plot_latent_grid

from ..codes import sampled_codes
from ..report import ReportFigure
from ..seen import differ, in_turn, shown
from ..selecting import trained_parts

__all__ = ["figures"]


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Codes by letter of all models, and the plane of the latents as each model draws it; the first seed."""
    seed = configuration.seeds[0]
    runs = {name: directory / name / f"seed{seed}" for name in configuration.models}
    trees = {name: read_posterior(run / "posterior.zarr") for name, run in runs.items()}
    codes = {name: sampled_codes(tree) for name, tree in trees.items()}
    labels = next(iter(trees.values()))["constant_data"].to_dataset()["label"].load()
    within = [f"{_within(code):.0%} under {name}" for name, code in codes.items()]
    seen = f"The circle that holds 95 % of the prior holds of the codes {in_turn(within)}"
    caption = f"{seen}. One draw from q(z | x) of each image, by letter, seed {seed}; the inner circle holds half."
    alt = f"{len(codes)} panels of dots coloured by letter. {seen}."
    scatter = ReportFigure("codes", caption, plot_codes(codes, labels), "Codes by letter", alt)
    return [scatter, *(_plane(name, run, configuration) for name, run in runs.items())]


def _plane(name: str, run: Path, configuration: DictConfig) -> ReportFigure:
    grid = latent_grid(trained_parts(run, configuration).model)
    seen = in_turn([f"along {dim} images differ from each other by {shown(differ(grid, dim))}" for dim in ("z1", "z0")])
    seen += " a pixel"
    caption = f"The mean of p(x | z) over the plane of the two latents, at steps of equal prior probability: {seen}."
    alt = f"{grid.shape[0]} rows of {grid.shape[1]} images; {seen}."
    return ReportFigure(f"plane_{name}", caption, plot_latent_grid(grid), f"The latent plane: {name}", alt)


def _within(code: xr.DataArray) -> float:
    """Share of codes (image, latent) of two latents in the circle that holds 95 % of N(0, I)."""
    radii = (code**2).sum([dim for dim in code.dims if dim != "image"])
    return float((radii < -2 * math.log(0.05)).mean())
