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
    svi,
)
from .checks import check_pair
from .errors import UserError
from .examination import compare, elbo_surgery, examine, information_split, log_marginal, rank_simulations, to_elpd
from .interventions import redraw, transfer_style, two_codes, vary
from .models import VAE, ConditionalVAE, TwoViewVAE
from .objectives import (
    Annealed,
    Balanced,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    Objective,
    Penalised,
    SoftFreeBits,
    TotalCorrelation,
)
from .pair import Program, record
from .posterior import from_pyro_svi, read_posterior, write_posterior
from .svi import fit

__all__ = [
    "VAE",
    "Annealed",
    "Balanced",
    "BetaELBO",
    "Capacity",
    "ConditionalVAE",
    "FreeBits",
    "ImportanceWeighted",
    "Objective",
    "Penalised",
    "Program",
    "SoftFreeBits",
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
    "information_split",
    "interventions",
    "likelihoods",
    "log_marginal",
    "metrics",
    "models",
    "networks",
    "objectives",
    "pair",
    "plots",
    "posterior",
    "priors",
    "rank_simulations",
    "read_posterior",
    "record",
    "redraw",
    "svi",
    "to_elpd",
    "transfer_style",
    "two_codes",
    "vary",
    "write_posterior",
]
