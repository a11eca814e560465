"""The guide of the semi-supervised model: q(y | x) q(z | x, y)."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.distributions import Membership
from ppvae.errors import UserError, check_whole
from ppvae.models import UNKNOWN
from ppvae.pair.program import Program, record

__all__ = ["SemiSupervisedNormal"]

SUMMED_OUT = {"event_dims": ["level"], "enumerate": "parallel"}
NEVER = -1e4  # a logit whose probability is zero in any precision, and whose product with zero is zero


class SemiSupervisedNormal(Program):
    """q(y | x) q(z | x, y) = Cat(y; softmax(W c(x) + b)) N(z; μ(e(x), y), diag σ(e(x), y)²), y summed out exactly.

    ``encoder`` e and ``classifier`` c give features (image, features) each; z's head is a hidden layer of as many units
    as e has features, which sees y beside them. Called with images (image, C, H, W) and labels (image,), whole numbers
    from 0 or :data:`~ppvae.models.UNKNOWN`: where a label is known y is that label alone, so that the bound is
    log p(x, y)'s.

    Records ``y_probability`` (image, level), the classifier's own, and ``label_log_probability`` (image,), log q(label
    | x), zero where it is not known, with ``label_known`` (image,), one where it is: what
    :class:`~ppvae.objectives.Supervised` adds to the bound, as the bound itself teaches the classifier of unlabelled
    images alone.

    Errors: :class:`~ppvae.errors.UserError` for labels that are no whole numbers of these levels.
    Source: Kingma, Rezende, Mohamed and Welling 2014, Eqs. 4, 6-9.
    """

    def __init__(self, encoder: nn.Module, classifier: nn.Module, levels: int, latents: int) -> None:
        super().__init__()
        check_whole("levels", levels, 2)
        self.encoder, self.classifier, self.levels = encoder, classifier, levels
        width = feature_count(encoder)
        self.logits = nn.Linear(feature_count(classifier), levels)
        self.joint = nn.Sequential(nn.Linear(width + levels, width), nn.ReLU())
        self.loc, self.log_variance = nn.Linear(width, latents), nn.Linear(width, latents)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        features, logits = self.encoder(images), self.logits(self.classifier(images))
        with pyro.plate("image", images.shape[-4], dim=-1):
            record("y_probability", logits.softmax(-1), ("level",))
            if labels is not None:
                logits = self._told(logits, labels)
            y = pyro.sample("y", Membership(logits=logits), infer=SUMMED_OUT)
            return pyro.sample("z", self._normal(features, y), infer={"event_dims": ["latent"]})

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """q(y | x), the probabilities of each image's levels, (image, level)."""
        return self.logits(self.classifier(images)).softmax(-1)

    def _told(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The logits with those of a known label where there is one; what the classifier gave it is recorded."""
        if labels.is_floating_point() or labels.is_complex():
            raise UserError(f"labels are {labels.dtype}; expected whole numbers from 0, or {UNKNOWN} where unknown")
        known, indicator = labels != UNKNOWN, labels[..., None] == torch.arange(self.levels, device=labels.device)
        told = (logits.log_softmax(-1) * indicator).sum(-1)
        record("label_log_probability", told, ())
        record("label_known", known.to(told.dtype), ())
        return torch.where(known[..., None], torch.where(indicator, 0.0, NEVER), logits)

    def _normal(self, features: torch.Tensor, y: torch.Tensor) -> dist.TorchDistribution:
        """q(z | x, y): features (image, features), y (..., level), whose batches broadcast."""
        batch = torch.broadcast_shapes(features.shape[:-1], y.shape[:-1])
        both = torch.cat([features.expand(*batch, -1), y.to(features.dtype).expand(*batch, -1)], -1)
        hidden = self.joint(both)
        return dist.Normal(self.loc(hidden), (0.5 * self.log_variance(hidden)).exp()).to_event(1)
