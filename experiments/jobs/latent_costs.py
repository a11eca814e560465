"""What latents cost, beside what those of trained models were found to cost."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import xarray as xr
from omegaconf import DictConfig

from ppvae import UserError
from ppvae.plots import plot_costs
from ppvae.plots.labels import number
from ppvae.selection import NormalGammaPath, latent_costs

from ..configuration_files import load_configuration
from ..report import ReportFigure
from ..seen import sentence

__all__ = ["figures"]

BOUNDS = {"NormalPrior": "normal", "NormalGammaPrior": "normal_gamma", "StudentTPrior": "student_t"}
LEAST = 0.1  # nats above which a latent counts as informative
type Measured = dict[NormalGammaPath, dict[str, list[pd.DataFrame]]]


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """For each choice of the Normal-Gamma numbers its costs, with every latent of all models and seeds as a dot.

    Errors: :class:`~ppvae.errors.UserError` for a model whose prior is none of the three.
    """
    tables: Measured = {}
    for name in configuration.models:
        for seed in configuration.seeds:
            _add(tables, directory / name / f"seed{seed}", configuration)
    return [
        _figure(f"costs_{place}" if place else "costs", path, {name: _joined(parts) for name, parts in found.items()})
        for place, (path, found) in enumerate(tables.items())
    ]


def _figure(name: str, path: NormalGammaPath, measured: Mapping[str, xr.Dataset]) -> ReportFigure:
    dots = [
        f"{int((latents['kl'] > LEAST).sum())} of {latents.sizes['latent']} of {bound.replace('_', ' ')} pairs above "
        f"{LEAST:g} nats, the dearest at {number(float(latents['kl'].max()))}"
        for bound, latents in measured.items()
    ]
    seen = f"of the latents of all models and seeds, the dots, {'; '.join(dots)}"
    caption = (
        f"{sentence(seen)} Curves: the KL of one latent whose means are normal over the data and whose noise, unlike "
        f"the dots', is the same for all. The guide's informative end is Gamma{path.informative}, so its noise has a "
        f"variance of at least {path.variance(0.0):.2g}."
    )
    figure = plot_costs(latent_costs(path=path), measured)
    alt = f"Two panels of curves over the signal-to-noise ratio: {seen}."
    return ReportFigure(name, caption, figure, f"What a latent costs, Gamma{path.informative}", alt)


def _add(tables: Measured, run: Path, given: DictConfig) -> None:
    configuration = load_configuration(run / "config.yaml", given)
    prior, guide = configuration.prior, configuration.guide
    bound = BOUNDS.get(prior._target_.rpartition(".")[2])
    if bound is None:
        raise UserError(f"{run}: prior={prior._target_}: expected one of {', '.join(BOUNDS)}")
    ends = {name: tuple(guide[name]) for name in ("informative", "uninformative") if name in guide}
    ends |= {"prior": (prior.shape, prior["rate"])} if "rate" in prior else {}
    tables.setdefault(NormalGammaPath(**ends), {}).setdefault(bound, []).append(pd.read_csv(run / "latents.csv"))


def _joined(parts: list[pd.DataFrame]) -> xr.Dataset:
    table: Mapping[str, pd.Series] = pd.concat(parts, ignore_index=True)[["kl", "signal_to_noise"]]
    return xr.Dataset({name: ("latent", values.to_numpy()) for name, values in table.items()})
