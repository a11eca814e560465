"""A deep hierarchy of feature maps: its shape in one line, its cells, and the ways down, up and out to the pixels."""

from ppvae.networks.hierarchy.bottom_up import BottomUp
from ppvae.networks.hierarchy.cells import CELLS, BottleneckCell, EncoderCell, GenerativeCell, SqueezeExcite
from ppvae.networks.hierarchy.pixels import HierarchyDecoder
from ppvae.networks.hierarchy.scales import Scale, groups_per_scale, read_hierarchy
from ppvae.networks.hierarchy.top_down import TopDown

__all__ = [
    "CELLS",
    "BottleneckCell",
    "BottomUp",
    "EncoderCell",
    "GenerativeCell",
    "HierarchyDecoder",
    "Scale",
    "SqueezeExcite",
    "TopDown",
    "groups_per_scale",
    "read_hierarchy",
]
