"""A deep hierarchy of feature maps, each drawn given those above it."""

import pyro
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import ResidualNormals
from ppvae.distributions.residual_normal import Scales
from ppvae.networks.hierarchy import TopDown

__all__ = ["HierarchyPrior", "group_dims"]


def group_dims(group: int) -> list[str]:
    """Names of the event dims of z_``group``, counted from one: groups of unlike sizes have dims of their own."""
    return [f"latent_{group}", f"row_{group}", f"column_{group}"]


class HierarchyPrior(Described, nn.Module):
    """p(z_1) Π_l p(z_l | z_1 … z_l−1), z_1 ~ N(0, I), all others normals whose moments ``top_down`` gives.

    ``scales`` and ``clamp``: how its numbers become moments, as :class:`~ppvae.distributions.ResidualNormals` says.
    Sites ``z_1`` … ``z_L`` (latent_l, row_l, column_l), top first. Returns the features after the last, which a
    :class:`~ppvae.networks.hierarchy.HierarchyDecoder` decodes: an image sees every group through them.
    ``code_size``: numbers of one image's code. The guide is a ``guides.HierarchyGuide`` of this very prior.
    Errors: :class:`~ppvae.errors.UserError` for unknown scales, or a clamp out of range.
    Source: Vahdat and Kautz 2020 (NVAE), Eq. 1.
    """

    of_images = False  # what its networks see are maps

    def __init__(self, top_down: TopDown, *, scales: Scales = "exp", clamp: float | None = None) -> None:
        super().__init__()
        self.normals = ResidualNormals(scales, clamp)
        self.top_down = top_down
        self.latents, self.map_shape = top_down.latents, top_down.map_shape
        self.code_size = self.latents * sum(rows * columns for _, rows, columns in top_down.group_shapes)

    def forward(self) -> torch.Tensor:
        return self.top_down.walk(self._drawn)

    def _drawn(self, group: int, _features: torch.Tensor, raw: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        prior = self.normals.prior(raw).to_event(3)
        return pyro.sample(f"z_{group + 1}", prior, infer={"event_dims": group_dims(group + 1)})
