"""Variational auto-encoders as Pyro model/guide pairs."""

from ppvae.checks import check_pair
from ppvae.errors import UserError
from ppvae.examination import compare, elbo_surgery, examine, log_marginal, rank_simulations, to_elpd
from ppvae.interventions import redraw, transfer_style, two_codes, vary
from ppvae.models import VAE, TwoViewVAE
from ppvae.objectives import (
    Annealed,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    Objective,
    SoftFreeBits,
    TotalCorrelation,
)
from ppvae.pair import Program, record
from ppvae.posterior import from_pyro_svi, read_posterior, write_posterior
from ppvae.svi import fit

__all__ = [
    "VAE",
    "Annealed",
    "BetaELBO",
    "Capacity",
    "FreeBits",
    "ImportanceWeighted",
    "Objective",
    "Program",
    "SoftFreeBits",
    "TotalCorrelation",
    "TwoViewVAE",
    "UserError",
    "check_pair",
    "compare",
    "elbo_surgery",
    "examine",
    "fit",
    "from_pyro_svi",
    "log_marginal",
    "rank_simulations",
    "read_posterior",
    "record",
    "redraw",
    "to_elpd",
    "transfer_style",
    "two_codes",
    "vary",
    "write_posterior",
]
