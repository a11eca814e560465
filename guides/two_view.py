"""The guide of two views: one encoder sees the image, the other its view."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.models.two_view import draw_view
from ppvae.pair.program import Program

__all__ = ["TwoViewGuide"]


class TwoViewGuide(Program):
    """q(cluster | x) q(z_global | x) q(z_local | x̂), diagonal normals; x̂ is drawn at site ``view``, the model's too.

    ``z_local`` sees the image through its view alone, so what the view destroys cannot be in it. ``transformation`` is
    the model's own; None, as there, leaves the auxiliary task out, and both encoders see the image.
    ``clusters`` draws the site ``cluster`` of a model whose prior has one: :class:`~guides.OptimalClusters`,
    :class:`~guides.EnumeratedClusters` or :class:`~guides.RelaxedClusters`.

    Shapes: images (image, C, H, W); sites ``cluster`` (image, component), ``z_global`` (image, latent_global),
    ``z_local`` (image, latent_local).
    Source: Anonymous 2019, "Explicit information placement on latent variables using auxiliary generative modelling
    task", Secs. 2.1 and 3.2.
    """

    def __init__(
        self,
        encoder_global: nn.Module,
        encoder_local: nn.Module,
        latents_global: int,
        latents_local: int,
        transformation: Callable[[torch.Tensor], torch.Tensor] | None,
        clusters: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder_global, self.encoder_local = encoder_global, encoder_local
        self.head_global = nn.Linear(feature_count(encoder_global), 2 * latents_global)
        self.head_local = nn.Linear(feature_count(encoder_local), 2 * latents_local)
        self.transformation = transformation
        self.clusters = clusters

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with pyro.plate("image", images.shape[-4], dim=-1):
            view = images if self.transformation is None else draw_view(self.transformation, images)
            features = self.encoder_global(images)
            q_global, q_local = _normal(self.head_global(features)), _normal(self.head_local(self.encoder_local(view)))
            if self.clusters is not None:
                self.clusters(features, q_global)
            z_global = pyro.sample("z_global", q_global, infer={"event_dims": ["latent_global"]})
            return z_global, pyro.sample("z_local", q_local, infer={"event_dims": ["latent_local"]})


def _normal(parameters: torch.Tensor) -> dist.TorchDistribution:
    """Means first, then log-variances."""
    loc, log_variance = parameters.chunk(2, -1)
    return dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1)
