"""The two-view VAE in plain PyTorch, as somebody without Pyro writes it: the yardstick of its step-time benchmark."""

import copy
import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from .hand_written import HandWritten

__all__ = ["CLUSTERS", "Clusters", "HandWrittenTwoView", "logistic_distortion", "shuffled"]

Clusters = Literal["none", "optimal", "enumerated", "relaxed"]
CLUSTERS: tuple[Clusters, ...] = get_args(Clusters)


def shuffled(images: torch.Tensor) -> torch.Tensor:
    """Each image's pixels in an order of its own, all channels together; (image, C, H, W) → the same."""
    pixels = images.flatten(2)
    order = torch.rand_like(pixels[:, 0]).argsort(-1)
    return pixels.gather(-1, order[:, None].expand_as(pixels)).view_as(images)


def logistic_distortion(maps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """−log p(x | z) of 8-bit pixels under discretised logistics, nats per image; maps: means, then log-scales."""
    mean, log_scale = maps.chunk(2, 1)
    precision = (-log_scale.clamp(min=-7)).exp()
    offset = 2 * images - 1 - mean
    below = F.logsigmoid((1 / 255 + offset) * precision)
    above = F.logsigmoid((1 / 255 - offset) * precision)
    inside = below + above + (-torch.expm1(-2 / 255 * precision)).log()
    mass = torch.where(images < 0.5 / 255, below, torch.where(images > 254.5 / 255, above, inside))
    return -mass.sum() / len(images)


class HandWrittenTwoView(HandWritten):
    """A two-view VAE with the networks and the cluster means of a (model, guide) pair, copied; patches of one pixel.

    Of relaxed clusters the loss is the published objective.
    """

    temperature = 0.4

    def __init__(self, model: nn.Module, guide: nn.Module, clusters: Clusters) -> None:
        super().__init__()
        self.encoder_global = copy.deepcopy(guide.get_submodule("encoder_global"))
        self.encoder_local = copy.deepcopy(guide.get_submodule("encoder_local"))
        self.head_global = copy.deepcopy(guide.get_submodule("head_global"))
        self.head_local = copy.deepcopy(guide.get_submodule("head_local"))
        self.decoder = copy.deepcopy(model.get_submodule("likelihood.decoder"))
        self.shuffled_decoder = copy.deepcopy(model.get_submodule("shuffled_likelihood.decoder"))
        self.clusters = clusters
        if clusters != "none":
            self.cluster_loc = copy.deepcopy(model.get_parameter("prior_global.loc"))
            self.cluster_log_scale = copy.deepcopy(model.get_parameter("prior_global.log_scale"))
        if clusters in ("enumerated", "relaxed"):
            self.logits = copy.deepcopy(guide.get_submodule("clusters.logits"))

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(distortion, rate), each ()."""
        view = shuffled(images)
        features = self.encoder_global(images)
        q_global = self.head_global(features).chunk(2, -1)
        q_local = self.head_local(self.encoder_local(view)).chunk(2, -1)
        rate = _standard_rate(*q_local) + self._global_rate(features, *q_global)
        z_global, z_local = _draw(*q_global), _draw(*q_local)
        distortion = logistic_distortion(self.decoder(torch.cat([z_global, z_local], -1)), images)
        return distortion + logistic_distortion(self.shuffled_decoder(z_local), view), rate.sum() / len(images)

    def _global_rate(self, features: torch.Tensor, loc: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """KL of z_global and of the cluster, (image,)."""
        if self.clusters == "none":
            return _standard_rate(loc, log_variance)
        if self.clusters == "optimal":
            return math.log(len(self.cluster_loc)) - (-self._cluster_rates(loc, log_variance)).logsumexp(-1)
        log_probability = self.logits(features).log_softmax(-1)
        probability = log_probability.exp()
        cluster_rate = (probability * log_probability).sum(-1) + math.log(len(self.cluster_loc))
        if self.clusters == "enumerated":
            return cluster_rate + (probability * self._cluster_rates(loc, log_variance)).sum(-1)
        noise = -torch.rand_like(log_probability).clamp(min=1e-7).log()
        y = ((log_probability - noise.log()) / self.temperature).softmax(-1)
        scale = y @ self.cluster_log_scale.exp()
        return cluster_rate + _normal_rate(loc, log_variance, y @ self.cluster_loc, 2 * scale.log())

    def _cluster_rates(self, loc: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """KL(q(z_global) ‖ p(z_global | k)), (image, k)."""
        return _normal_rate(loc[:, None], log_variance[:, None], self.cluster_loc, 2 * self.cluster_log_scale)


def _draw(loc: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    return loc + (0.5 * log_variance).exp() * torch.randn_like(loc)


def _standard_rate(loc: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL from a standard normal, (image,)."""
    return 0.5 * (loc.square() + log_variance.exp() - 1 - log_variance).sum(-1)


def _normal_rate(
    loc: torch.Tensor, log_variance: torch.Tensor, prior_loc: torch.Tensor, prior_log_variance: torch.Tensor
) -> torch.Tensor:
    """KL from another diagonal normal, summed over the last dim."""
    scaled = ((loc - prior_loc).square() + log_variance.exp()) * (-prior_log_variance).exp()
    return 0.5 * (scaled - 1 - log_variance + prior_log_variance).sum(-1)
