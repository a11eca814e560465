"""The diagonal normal guide of two levels, each read from the image."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.errors import UserError, check_whole
from ppvae.pair.program import Program

__all__ = ["BottomUpNormal"]


class BottomUpNormal(Program):
    """q(z_2, z_1 | x) = q(z_2 | x) q(z_1 | x), diagonal normals, in the order of the model's sites.

    The encoder's feature maps h_1 give z_1, place by place, and what it makes of them, not of a draw of z_1, gives z_2:
    the levels are independent given the image. ``encoder``: one with ``levels`` and ``map_shape``, such as
    :class:`~ppvae.networks.MapEncoder`; ``maps``: of z_1, whose shape is ``map_shape``; ``latents``: of z_2.

    Shapes: images (image, C, H, W); sites ``z_2`` (image, latent_2), ``z_1`` (image, map_1, row_1, column_1).
    Errors: :class:`~ppvae.errors.UserError` for an encoder without feature maps.
    Source: Gulrajani et al. 2017 (PixelVAE), whose code feeds h_1 to the second encoder; their Eq. 2 has q(z_2 | z_1).
    """

    def __init__(self, encoder: nn.Module, latents: int, maps: int) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_whole("maps", maps, 1)
        if not hasattr(encoder, "levels"):
            raise UserError(
                f"encoder {type(encoder).__name__} gives features alone, BottomUpNormal reads feature maps as well: "
                "use MapEncoder, network=two_levels, or another guide, such as guide=mean_field"
            )
        self.encoder = encoder
        self.map_shape = (maps, *encoder.map_shape[1:])
        self.loc = nn.Linear(feature_count(encoder), latents)
        self.log_variance = nn.Linear(feature_count(encoder), latents)
        self.map_loc = nn.Conv2d(encoder.map_shape[0], maps, 1)
        self.map_log_variance = nn.Conv2d(encoder.map_shape[0], maps, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with pyro.plate("image", images.shape[-4], dim=-1):
            above, below = self.posteriors(images)
            z_2 = pyro.sample("z_2", above, infer={"event_dims": ["latent_2"]})
            return z_2, pyro.sample("z_1", below, infer={"event_dims": ["map_1", "row_1", "column_1"]})

    def posteriors(self, images: torch.Tensor) -> tuple[dist.TorchDistribution, dist.TorchDistribution]:
        """q(z_2 | x) and q(z_1 | x): batch shape (image,), event shapes (latent_2,) and (map_1, row_1, column_1)."""
        maps, features = self.encoder.levels(images)
        above = dist.Normal(self.loc(features), (0.5 * self.log_variance(features)).exp())
        flat = maps.flatten(0, -4)
        loc, log_variance = (head(flat).unflatten(0, maps.shape[:-3]) for head in (self.map_loc, self.map_log_variance))
        return above.to_event(1), dist.Normal(loc, (0.5 * log_variance).exp()).to_event(3)
