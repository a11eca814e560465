"""p(z): each prior is a small Pyro program that draws its sites and returns z."""

from ppvae.priors.normal import NormalPrior
from ppvae.priors.normal_gamma import NormalGammaPrior

__all__ = ["NormalGammaPrior", "NormalPrior"]
