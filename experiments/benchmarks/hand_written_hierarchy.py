"""The hierarchy in plain PyTorch, as somebody without Pyro writes it: prior, posterior and KL in one top-down pass."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["HandWrittenHierarchy"]


def normal_divergence(
    loc: torch.Tensor, scale: torch.Tensor, prior_loc: torch.Tensor, prior_scale: torch.Tensor
) -> torch.Tensor:
    """KL(N(loc, scale²) ‖ N(prior_loc, prior_scale²)), elementwise."""
    ratio, distance = scale / prior_scale, (loc - prior_loc) / prior_scale
    return 0.5 * (ratio.square() + distance.square() - 1) - ratio.log()


class HandWrittenHierarchy(nn.Module):
    """The networks of a (model, guide) pair, copied together, as they share one.

    Shapes: images (image, C, H, W) → −ELBO (), nats per image.
    """

    def __init__(self, model: nn.Module, guide: nn.Module) -> None:
        super().__init__()
        model, guide = copy.deepcopy((model, guide))
        self.top_down, self.bottom_up, self.posteriors = guide.top_down, guide.bottom_up, guide.posteriors
        self.out, self.scale = model.out, model.scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        distortion, rate = self.parts(images)
        return distortion + rate

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(distortion, rate), each ()."""
        found, rates = self.bottom_up(images), []

        def draw(group: int, features: torch.Tensor, loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
            seen = torch.cat([features, found[features.shape[-1]]], 1)
            shift, log_ratio = self.posteriors[group](F.silu(seen)).chunk(2, 1)
            posterior = loc + shift, (log_scale + log_ratio).exp()
            rates.append(normal_divergence(*posterior, loc, log_scale.exp()).sum())
            return posterior[0] + posterior[1] * torch.randn_like(loc)

        features = self.top_down.walk(len(images), draw)
        error = F.mse_loss(self.out(F.silu(features)), images, reduction="sum") / len(images)
        constant = images[0].numel() * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return error * (0.5 / self.scale**2) + constant, sum(rates) / len(images)
