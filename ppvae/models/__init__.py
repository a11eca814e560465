"""Models: a prior and a likelihood as one Pyro program, of an image, given its label or not, or with a view of it."""

from ppvae.models.conditional import ConditionalVAE
from ppvae.models.transformations import Blur, Compose, GreyScale, PatchShuffle, Quantise
from ppvae.models.two_view import TwoViewVAE
from ppvae.models.vae import VAE

__all__ = ["VAE", "Blur", "Compose", "ConditionalVAE", "GreyScale", "PatchShuffle", "Quantise", "TwoViewVAE"]
