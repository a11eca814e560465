"""Two levels: a vector, and feature maps that depend on it and, in raster order, on themselves."""

from collections.abc import Sequence
from math import prod

import pyro
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import AutoregressiveImage, pixel_output
from ppvae.errors import check_choice
from ppvae.networks.causal import CAUSAL_NETWORKS
from ppvae.networks.causal.windows import Window
from ppvae.networks.convolutional import ConvDecoder
from ppvae.networks.images import check_image_shape
from ppvae.priors.standard_normal import NormalPrior

__all__ = ["AutoregressiveMapPrior"]


class AutoregressiveMapPrior(Described, nn.Module):
    """p(z_2) p(z_1 | z_2) with p(z_2) = N(0, I) and p(z_1 | z_2) = Π_i N(z_1,i; μ_i, diag σ_i²) over the places i.

    μ_i and σ_i see z_2 and the places before i in raster order; the maps at one place are independent given those.
    Sites ``z_2`` (latent_2), then ``z_1`` (map_1, row_1, column_1), which the prior returns: p(x | z_1) decodes it
    alone. Scoring is one parallel pass, a draw goes place by place. With a guide whose z_1 factorises the KL of z_1
    is closed place by place, given a draw of z_1 from the guide (:func:`~ppvae.pair.sites.elementwise`).

    ``latents``: of z_2; ``map_shape``: (maps, rows, columns) of z_1. ``hidden``: channels of the transposed
    convolutions that make ``context`` maps of z_2. ``causal``, ``window``, ``layers``, ``channels`` and ``tied``: as
    of :class:`~ppvae.likelihoods.AutoregressiveLikelihood`; window (0, 1) leaves the places independent given z_2.
    ``code_size``: numbers of one image's code.

    Errors: :class:`~ppvae.errors.UserError` for sizes out of range, a wrong window, or an unknown network.
    Source: Gulrajani et al. 2017 (PixelVAE), Sec. 3.2 and 3.3.
    """

    of_images = False  # what its networks see are maps

    def __init__(
        self,
        latents: int,
        map_shape: Sequence[int],
        *,
        hidden: Sequence[int] = (64, 64),
        causal: str = "gated",
        window: Window = None,
        layers: int = 4,
        channels: int = 32,
        context: int = 32,
        tied: bool = False,
    ) -> None:
        super().__init__()
        check_choice("causal", causal, CAUSAL_NETWORKS)
        self.latents, self.map_shape = latents, check_image_shape(map_shape, "map_shape")
        self.code_size = latents + prod(self.map_shape)
        self.top = NormalPrior(latents, site="z_2")
        self.decoder = ConvDecoder(latents, self.map_shape, hidden, maps=context)
        options = {"window": window, "layers": layers, "channels": channels, "tied": tied}
        self.network = CAUSAL_NETWORKS[causal](self.map_shape, context, **options)
        self.places = pixel_output("normal", self.network.features, self.map_shape[0])

    def forward(self) -> torch.Tensor:
        given = AutoregressiveImage(self.network, self.places, self.decoder(self.top()))
        return pyro.sample("z_1", given, infer={"event_dims": ["map_1", "row_1", "column_1"]})
