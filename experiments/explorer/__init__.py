"""The latent explorer, ``ppvae explore``: a finished run's codes as sliders and as a map, on a page."""

from .explorer import Explorer, Setting

__all__ = ["Explorer", "Setting"]
