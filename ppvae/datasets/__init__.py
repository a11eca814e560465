"""Images with known factors: procedural sprites, dSprites, or any array of images."""

from ppvae.datasets.drawing import draw_sprites
from ppvae.datasets.dsprites import dsprites
from ppvae.datasets.images import ImageDataset
from ppvae.datasets.sprites import sprite_grid, sprites

__all__ = ["ImageDataset", "draw_sprites", "dsprites", "sprite_grid", "sprites"]
