"""Networks of an image whose features at a pixel see the pixels before it alone, in raster order."""

from ppvae.networks.causal.attention import PixelAttention
from ppvae.networks.causal.gated import GatedPixels

__all__ = ["CAUSAL_NETWORKS", "GatedPixels", "PixelAttention"]

CAUSAL_NETWORKS = {"gated": GatedPixels, "attention": PixelAttention}
