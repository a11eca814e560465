"""Variational auto-encoders as Pyro model/guide pairs."""

from ppvae.errors import UserError
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
from ppvae.posterior import from_pyro_svi
from ppvae.program import Program, record
from ppvae.store import read_posterior, write_posterior
from ppvae.svi import fit
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
    "UserError",
    "check_pair",
    "fit",
    "from_pyro_svi",
    "log_marginal",
    "read_posterior",
    "record",
    "write_posterior",
]
