"""Variational auto-encoders as Pyro model/guide pairs."""

from . import (
    datasets,
    diagnostics,
    distributions,
    examination,
    interventions,
    likelihoods,
    metrics,
    models,
    networks,
    objectives,
    pair,
    plots,
    posterior,
    priors,
    selection,
    svi,
)
from .application import load
from .checks import check_pair
from .errors import UserError
from .examination import compare, elbo_surgery, examine, information_split, log_marginal, rank_simulations, to_elpd
from .interventions import impute, redraw, sample, transfer_style, two_codes, vary
from .models import VAE, ConditionalVAE, SemiSupervisedVAE, TwoViewVAE
from .objectives import (
    GECO,
    Annealed,
    Balanced,
    BetaELBO,
    Capacity,
    Descending,
    FreeBits,
    ImportanceWeighted,
    Objective,
    Penalised,
    SoftFreeBits,
    Supervised,
    TotalCorrelation,
)
from .pair import Program, record
from .posterior import from_pyro_svi, read_posterior, write_posterior
from .selection import path, select
from .svi import fit

__version__: str

__all__ = [
    "GECO",
    "VAE",
    "Annealed",
    "Balanced",
    "BetaELBO",
    "Capacity",
    "ConditionalVAE",
    "Descending",
    "FreeBits",
    "ImportanceWeighted",
    "Objective",
    "Penalised",
    "Program",
    "SemiSupervisedVAE",
    "SoftFreeBits",
    "Supervised",
    "TotalCorrelation",
    "TwoViewVAE",
    "UserError",
    "check_pair",
    "compare",
    "datasets",
    "diagnostics",
    "distributions",
    "elbo_surgery",
    "examination",
    "examine",
    "fit",
    "from_pyro_svi",
    "impute",
    "information_split",
    "interventions",
    "likelihoods",
    "load",
    "log_marginal",
    "metrics",
    "models",
    "networks",
    "objectives",
    "pair",
    "path",
    "plots",
    "posterior",
    "priors",
    "rank_simulations",
    "read_posterior",
    "record",
    "redraw",
    "sample",
    "select",
    "selection",
    "svi",
    "to_elpd",
    "transfer_style",
    "two_codes",
    "vary",
    "write_posterior",
]
