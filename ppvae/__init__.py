"""Variational auto-encoders as Pyro model/guide pairs."""

from ppvae.errors import UserError
from ppvae.objectives import BetaELBO
from ppvae.pairs import check_pair
from ppvae.posterior import from_pyro_svi
from ppvae.program import Program, record
from ppvae.store import read_posterior, write_posterior
from ppvae.svi import fit
from ppvae.vae import VAE

__all__ = [
    "VAE",
    "BetaELBO",
    "Program",
    "UserError",
    "check_pair",
    "fit",
    "from_pyro_svi",
    "read_posterior",
    "record",
    "write_posterior",
]
