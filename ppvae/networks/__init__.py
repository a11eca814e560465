"""Plain ``nn.Module`` networks: no probability, no Pyro."""

from ppvae.networks.causal import GatedPixels, PixelAttention
from ppvae.networks.conditions import Condition, ConditionalEncoder, ImageCondition, LabelCondition
from ppvae.networks.convolutional import ConvDecoder, ConvEncoder
from ppvae.networks.feature_maps import MapDecoder, MapEncoder
from ppvae.networks.hierarchy import BottomUp, HierarchyDecoder, TopDown
from ppvae.networks.mlp import MLPDecoder, MLPEncoder
from ppvae.networks.patches import PatchDecoder, PatchEncoder
from ppvae.networks.rows import RowConvDecoder, RowConvEncoder, RowEncoder

__all__ = [
    "BottomUp",
    "Condition",
    "ConditionalEncoder",
    "ConvDecoder",
    "ConvEncoder",
    "GatedPixels",
    "HierarchyDecoder",
    "ImageCondition",
    "LabelCondition",
    "MLPDecoder",
    "MLPEncoder",
    "MapDecoder",
    "MapEncoder",
    "PatchDecoder",
    "PatchEncoder",
    "PixelAttention",
    "RowConvDecoder",
    "RowConvEncoder",
    "RowEncoder",
    "TopDown",
]
