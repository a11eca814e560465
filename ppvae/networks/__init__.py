"""Plain ``nn.Module`` networks: no probability, no Pyro."""

from ppvae.networks.convolutional import ConvDecoder, ConvEncoder
from ppvae.networks.mlp import MLPDecoder, MLPEncoder

__all__ = ["ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"]
