"""Models: a prior and a likelihood as one Pyro program, of an image, or of an image and a view of it."""

from ppvae.models.transformations import Blur, Compose, GreyScale, PatchShuffle, Quantise
from ppvae.models.two_view import TwoViewVAE
from ppvae.models.vae import VAE

__all__ = ["VAE", "Blur", "Compose", "GreyScale", "PatchShuffle", "Quantise", "TwoViewVAE"]
