"""Plain ``nn.Module`` networks: no probability, no Pyro."""

from ppvae.networks.convolutional import ConvDecoder, ConvEncoder
from ppvae.networks.mlp import MLPDecoder, MLPEncoder
from ppvae.networks.patches import PatchDecoder, PatchEncoder

__all__ = ["ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder", "PatchDecoder", "PatchEncoder"]
