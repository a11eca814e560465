"""Models: a prior and a likelihood as one Pyro program: of an image, with its label, some labels, or a view of it."""

from ppvae.models.conditional import ConditionalVAE
from ppvae.models.semi_supervised import UNKNOWN, SemiSupervisedVAE
from ppvae.models.transformations import Blur, Compose, GreyScale, PatchShuffle, Quantise
from ppvae.models.two_view import TwoViewVAE
from ppvae.models.vae import VAE

__all__ = [
    "UNKNOWN",
    "VAE",
    "Blur",
    "Compose",
    "ConditionalVAE",
    "GreyScale",
    "PatchShuffle",
    "Quantise",
    "SemiSupervisedVAE",
    "TwoViewVAE",
]
