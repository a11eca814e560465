"""The two systems in plain PyTorch, as somebody without Pyro writes them: the yardstick of the step-time benchmark."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Gamma

__all__ = ["HandWritten", "HandWrittenNGVAE", "HandWrittenVAE", "bernoulli_distortion", "normal_distortion"]

type Distortion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of scores and images, nats per image


def bernoulli_distortion(scores: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """−log p(x | z) of binary pixels, nats per image."""
    return F.binary_cross_entropy_with_logits(scores, images, reduction="sum") / len(images)


def normal_distortion(scores: torch.Tensor, images: torch.Tensor, scale: float = 0.02) -> torch.Tensor:
    """−log p(x | z) of pixels N(sigmoid(score), scale²), nats per image."""
    error = F.mse_loss(scores.sigmoid(), images, reduction="sum") / len(images)
    return error * (0.5 / scale**2) + images[0].numel() * (math.log(scale) + 0.5 * math.log(2 * math.pi))


class HandWritten(nn.Module, ABC):
    """A system in plain PyTorch: the loss is the sum of its parts.

    Shapes: images (image, C, H, W) → −ELBO (), nats per image.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        distortion, rate = self.parts(images)
        return distortion + rate

    @abstractmethod
    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(distortion, rate), each ()."""


class HandWrittenVAE(HandWritten):
    """A Gaussian VAE with the networks of a (model, guide) pair, copied."""

    def __init__(self, model: nn.Module, guide: nn.Module, distortion: Distortion) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(guide.get_submodule("encoder"))
        self.loc = copy.deepcopy(guide.get_submodule("loc"))
        self.log_variance = copy.deepcopy(guide.get_submodule("log_variance"))
        self.decoder = copy.deepcopy(model.get_submodule("likelihood.decoder"))
        self.distortion = distortion

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(distortion, rate), each ()."""
        features = self.encoder(images)
        loc, log_variance = self.loc(features), self.log_variance(features)
        z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
        rate = 0.5 * (loc.square() + log_variance.exp() - 1 - log_variance).sum() / len(images)
        return self.distortion(self.decoder(z), images), rate


class HandWrittenNGVAE(HandWritten):
    """An NGVAE with the networks and the paper's constants of a (model, guide) pair, networks copied.

    Source: Jouffroy et al., Eqs. 5 and 7-10, with torch's implicit gradient of the Gamma.
    """

    prior_shape, prior_rate = 8.25, 3.62
    informative, uninformative, slope = (3.65, 0.24), (902.0, 810.9), 30.0

    def __init__(self, model: nn.Module, guide: nn.Module, distortion: Distortion) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(guide.get_submodule("encoder"))
        self.loc = copy.deepcopy(guide.get_submodule("loc"))
        self.logit = copy.deepcopy(guide.get_submodule("logit"))
        self.decoder = copy.deepcopy(model.get_submodule("likelihood.decoder"))
        self.distortion = distortion

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(distortion, rate), each ()."""
        features = self.encoder(images)
        loc = self.loc(features)
        s = torch.sigmoid(self.slope * (self.logit(features).sigmoid() - 0.5))
        shape, rate = (low + (high - low) * s for low, high in zip(self.informative, self.uninformative, strict=True))
        precision = Gamma(shape, rate, validate_args=False).rsample()
        z = loc + precision.rsqrt() * torch.randn_like(loc)
        divergence = self._gamma_divergence(shape, rate) + 0.5 * shape / rate * loc.square()
        return self.distortion(self.decoder(z), images), divergence.sum() / len(images)

    def _gamma_divergence(self, shape: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """KL(Gamma(shape, rate) ‖ prior), elementwise."""
        a, b = self.prior_shape, self.prior_rate
        return (
            (shape - a) * torch.digamma(shape)
            - torch.lgamma(shape)
            + math.lgamma(a)
            + a * (rate.log() - math.log(b))
            + shape * (b / rate - 1)
        )
