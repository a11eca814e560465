"""Fitted pairs' posteriors as ArviZ DataTrees, in memory and on disk."""

from .export import from_pyro_svi
from .store import read_posterior, write_posterior

__all__ = ["from_pyro_svi", "read_posterior", "write_posterior"]
