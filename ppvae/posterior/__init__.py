"""Fitted pairs' posteriors as ArviZ DataTrees, in memory and on disk."""

from ppvae.posterior.export import from_pyro_svi
from ppvae.posterior.store import read_posterior, write_posterior

__all__ = ["from_pyro_svi", "read_posterior", "write_posterior"]
