"""What the two-view benchmark times: one pair of programs, with several ways to treat clusters."""

import warnings
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from guides import EnumeratedClusters, OptimalClusters, RelaxedClusters, TwoViewGuide
from ppvae import TwoViewVAE
from ppvae.likelihoods import DiscretisedLogisticLikelihood
from ppvae.models.transformations import PatchShuffle
from ppvae.networks import ConvDecoder, ConvEncoder
from ppvae.priors import ClusterPrior, NormalPrior

from .hand_written import HandWritten
from .hand_written_two_view import Clusters, HandWrittenTwoView

__all__ = ["TWO_VIEW", "TwoViewSetup"]

RENAMED = {
    "shuffled_likelihood.": "shuffled_",
    "likelihood.": "",
    "prior_global.": "cluster_",
    "clusters.prior.": "cluster_",
    "clusters.": "",
}


@dataclass(frozen=True, kw_only=True)
class TwoViewSetup:
    """Networks, images and sizes; the pixels are shuffled one by one."""

    title: str = "two views, 3×32×32, 8-bit, batch 64, discretised logistic, channels 16-32-64, 32 + 32 latents"
    image_shape: tuple[int, int, int] = (3, 32, 32)
    batch_size: int = 64
    channels: tuple[int, ...] = (16, 32, 64)
    latents: int = 32  # each of z_global and z_local
    clusters: int = 30

    def images(self, seed: int = 0) -> torch.Tensor:
        """A batch of uniform noise in 256 grey levels."""
        shape, generator = (self.batch_size, *self.image_shape), torch.Generator().manual_seed(seed)
        return torch.randint(256, shape, generator=generator) / 255

    def pair(self, kind: Clusters, seed: int = 0) -> tuple[nn.Module, nn.Module]:
        """(model, guide), the same parameters for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            prior: nn.Module = NormalPrior(self.latents, site="z_global")
            if kind != "none":
                prior = ClusterPrior(self.latents, self.clusters, site="z_global")
            shuffle, local = PatchShuffle(1), NormalPrior(self.latents, site="z_local")
            likelihoods = self._likelihood(2 * self.latents), self._likelihood(self.latents)
            first, second = (ConvEncoder(self.image_shape, self.channels) for _ in range(2))
            clusters = self._clusters(kind, first.features, prior)
            guide = TwoViewGuide(first, second, self.latents, self.latents, shuffle, clusters)
            return TwoViewVAE(prior, local, *likelihoods, shuffle), guide

    def hand_written(self, kind: Clusters) -> HandWritten:
        """The same system without Pyro, with the same parameters."""
        return HandWrittenTwoView(*self.pair(kind), kind)

    def parameters(self, model: nn.Module, guide: nn.Module) -> dict[str, nn.Parameter]:
        """A pair's parameters by their names in the hand-written system."""
        return {
            _renamed(name): parameter for program in (model, guide) for name, parameter in program.named_parameters()
        }

    def _likelihood(self, latents: int) -> nn.Module:
        maps = DiscretisedLogisticLikelihood.decoder_maps(self.image_shape[0])
        return DiscretisedLogisticLikelihood(ConvDecoder(latents, self.image_shape, self.channels[::-1], maps=maps))

    def _clusters(self, kind: Clusters, features: int, prior: nn.Module) -> nn.Module | None:
        if kind in ("none", "optimal"):
            return None if kind == "none" else OptimalClusters(cast(ClusterPrior, prior))
        if kind == "enumerated":
            return EnumeratedClusters(features, self.clusters)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "RelaxedClusters trains on an objective that is no bound")
            return RelaxedClusters(features, self.clusters, HandWrittenTwoView.temperature)


TWO_VIEW = TwoViewSetup()


def _renamed(name: str) -> str:
    for ours, theirs in RENAMED.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
