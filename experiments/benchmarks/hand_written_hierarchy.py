"""The hierarchy in plain PyTorch, as somebody without Pyro writes it: prior, posterior and KL in one top-down pass."""

import copy
import math
from typing import cast

import torch
import torch.nn.functional as F

from guides import HierarchyGuide
from ppvae import VAE
from ppvae.likelihoods import NormalLikelihood

from .hand_written import HandWritten

__all__ = ["HandWrittenHierarchy"]

type Raw = tuple[torch.Tensor, torch.Tensor]


class HandWrittenHierarchy(HandWritten):
    """The networks of a (model, guide) pair, copied together, as they share one."""

    def __init__(self, model: VAE, guide: HierarchyGuide, scale: float) -> None:
        super().__init__()
        model, guide = copy.deepcopy((model, guide))
        self.prior, self.bottom_up, self.joining, self.heads = guide.prior, guide.bottom_up, guide.joining, guide.heads
        self.likelihood, self.scale = cast(NormalLikelihood, model.likelihood), scale

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(distortion, rate), each ()."""
        seen, rates = self.bottom_up(images), list[torch.Tensor]()

        def draw(group: int, features: torch.Tensor, raw: Raw) -> torch.Tensor:
            (loc, log_scale), joined = raw, seen[group] + self.joining[group](features)
            shift, log_ratio = self.heads[group](F.elu(joined)).chunk(2, 1)
            ratio = log_ratio.exp()
            rates.append((0.5 * (shift.square() * (-2 * log_scale).exp() + ratio.square() - 1) - log_ratio).sum())
            return loc + shift + (log_scale + log_ratio).exp() * torch.randn_like(shift)

        decoded = torch.sigmoid(self.likelihood.decoder(self._walk(draw)))
        error = F.mse_loss(decoded, images, reduction="sum") / len(images)
        constant = images[0].numel() * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return error * (0.5 / self.scale**2) + constant, sum(rates[1:], rates[0]) / len(images)

    def _walk(self, draw) -> torch.Tensor:
        down = self.prior.top_down
        features = down.constant[None]
        for group, taking in enumerate(down.taking):
            if group:
                features = down.enter(group, features)
                raw = down.heads[group - 1](F.elu(features)).chunk(2, 1)
            else:
                raw = (features.new_zeros(()), features.new_zeros(()))
            z = draw(group, features, raw)
            features = taking(torch.cat([features.expand(len(z), -1, -1, -1), z], 1))
        return down.leaving(features)
