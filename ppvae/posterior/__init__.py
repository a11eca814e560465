"""Fitted pairs' posteriors as ArviZ DataTrees."""

from ppvae.posterior.export import from_pyro_svi

__all__ = ["from_pyro_svi"]
