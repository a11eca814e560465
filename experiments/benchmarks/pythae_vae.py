"""pythae's VAE with the networks of one of our pairs; pythae is no dependency of this project."""

import math
from importlib.metadata import version
from importlib.util import find_spec

import torch
from torch import nn

from .setups import LATENTS, Setup

__all__ = ["INSTALL", "build_pythae", "pythae_parts", "pythae_version"]

INSTALL = (
    "uv pip install --target .pythae --no-deps pythae==0.1.2 cloudpickle imageio "
    "pydantic pydantic-core annotated-types typing-inspection"
)


def pythae_version() -> str | None:
    """The installed version, or None."""
    return version("pythae") if find_spec("pythae") else None


def build_pythae(setup: Setup) -> nn.Module:
    """pythae's VAE; ``bce`` for binary pixels, else ``mse``, which is its only normal (variance one)."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self, guide: nn.Module) -> None:
            super().__init__()
            self.encoder, self.loc = guide.get_submodule("encoder"), guide.get_submodule("loc")
            self.log_variance = guide.get_submodule("log_variance")

        def forward(self, images: torch.Tensor) -> ModelOutput:
            features = self.encoder(images)
            return ModelOutput(embedding=self.loc(features), log_covariance=self.log_variance(features))

    class Decoder(BaseDecoder):
        def __init__(self, decoder: nn.Module) -> None:
            super().__init__()
            self.decoder = decoder

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.decoder(z).sigmoid())

    model, guide = setup.pair("VAE")
    loss = "bce" if setup.binary else "mse"
    config = VAEConfig(input_dim=setup.image_shape, latent_dim=LATENTS, reconstruction_loss=loss)
    return VAE(config, encoder=Encoder(guide), decoder=Decoder(model.get_submodule("likelihood.decoder")))


def pythae_parts(setup: Setup, system: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(distortion, rate) in our units: its squared error as that of a normal with scale 0.02."""
    output = system({"data": images})
    if setup.binary:
        return output.recon_loss, output.reg_loss
    constant = math.prod(setup.image_shape) * (math.log(0.02) + 0.5 * math.log(2 * math.pi))
    return output.recon_loss / 0.02**2 + constant, output.reg_loss
