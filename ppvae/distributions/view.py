"""A random view of images, whose density nobody knows and nobody needs."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch.distributions import constraints, register_kl

from ppvae.described import one_line

__all__ = ["View"]


class View(dist.TorchDistribution):
    """x̂ ~ g(x): what a random transformation makes of images; its log density is left out, as zero.

    A model and its guide both draw the site, from the same g and the same images: the density cancels in p/q, and
    given the view every bound holds.

    Shapes: images (*batch, C, H, W) → batch shape (*batch), event shape (C, H, W); ``transformation`` takes any leading
    dims and draws anew for each image.
    Source: Anonymous 2019, "Explicit information placement on latent variables using auxiliary generative modelling
    task", Sec. 2.1.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own convention
    support = constraints.independent(constraints.real, 3)
    has_rsample = False

    def __init__(self, transformation: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> None:
        self.transformation, self.images = transformation, images
        super().__init__(images.shape[:-3], images.shape[-3:], validate_args=False)

    def __repr__(self) -> str:
        return one_line(self, "transformation", "images")

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> torch.Tensor:
        with torch.no_grad():
            return self.transformation(self.images.expand(*sample_shape, *self.images.shape))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return value.new_zeros(value.shape[:-3])

    def expand(self, batch_shape: torch.Size | tuple[int, ...], _instance: object = None) -> "View":
        return View(self.transformation, self.images.expand(*batch_shape, *self.event_shape))


@register_kl(View, View)
def _kl_views(q: View, p: View) -> torch.Tensor:
    """Zero: both are g."""
    del p
    return q.images.new_zeros(q.batch_shape)
