"""What latents cost, beside what those of trained models were found to cost."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import xarray as xr
from omegaconf import DictConfig

from ppvae import UserError
from ppvae.plots import plot_costs
from ppvae.selection import NormalGammaPath, latent_costs

from ..configuration_files import load_configuration
from ..report import ReportFigure

__all__ = ["figures"]

BOUNDS = {"NormalPrior": "normal", "NormalGammaPrior": "normal_gamma", "StudentTPrior": "student_t"}
type Measured = dict[NormalGammaPath, dict[str, list[pd.DataFrame]]]


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """For each choice of the Normal-Gamma numbers its costs, with every latent of all models and seeds as a dot.

    Errors: :class:`~ppvae.errors.UserError` for a model whose prior is none of the three.
    """
    tables: Measured = {}
    for name in configuration.models:
        for seed in configuration.seeds:
            _add(tables, directory / name / f"seed{seed}", configuration)
    caption = (
        "Curves: the KL of one latent whose means are normal over the images and whose noise is the same for all. "
        "Dots: the latents of all models and seeds, whose noise differs from image to image. The informative end of "
        "the guide is Gamma{}, so its noise has a variance of at least {:.2g}."
    )
    return [
        ReportFigure(
            f"costs_{number}" if number else "costs",
            caption.format(path.informative, path.variance(0.0)),
            plot_costs(latent_costs(path=path), {bound: _joined(parts) for bound, parts in measured.items()}),
            f"What a latent costs, Gamma{path.informative}",
        )
        for number, (path, measured) in enumerate(tables.items())
    ]


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
