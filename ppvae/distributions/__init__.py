"""Distributions and KLs that Pyro lacks."""

from ppvae.distributions.g_rep import GRepGamma
from ppvae.distributions.precision_normal import PrecisionNormal

__all__ = ["GRepGamma", "PrecisionNormal"]
