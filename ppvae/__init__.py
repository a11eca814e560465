"""Variational auto-encoders as Pyro model/guide pairs."""

from ppvae.calibration import rank_simulations
from ppvae.comparison import compare, to_elpd
from ppvae.errors import UserError
from ppvae.examination import examine
from ppvae.marginal import log_marginal
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
from ppvae.pairs import check_pair
from ppvae.placement import redraw, transfer_style, two_codes, vary
from ppvae.posterior import from_pyro_svi
from ppvae.program import Program, record
from ppvae.store import read_posterior, write_posterior
from ppvae.surgery import elbo_surgery
from ppvae.svi import fit
from ppvae.two_view import TwoViewVAE
from ppvae.vae import VAE

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
