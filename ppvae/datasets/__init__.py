"""Images with known factors: procedural sprites, published datasets, files, or any array of images."""

from ppvae.datasets.archives import npz
from ppvae.datasets.caching import write_zarr
from ppvae.datasets.conversion import Conversion, Kind
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.decoded import DecodedImages
from ppvae.datasets.drawing import draw_sprites
from ppvae.datasets.dsprites_archive import dsprites
from ppvae.datasets.factors import factor
from ppvae.datasets.file_sources import celeba, image_folder, omniglot
from ppvae.datasets.images import Images, RenderedImages, StoredImages
from ppvae.datasets.numpy_files import npy
from ppvae.datasets.procedural_bumps import bumps
from ppvae.datasets.procedural_numbers import house_numbers
from ppvae.datasets.procedural_sprites import sprite_grid, sprites
from ppvae.datasets.scaling import Scaling, in_units
from ppvae.datasets.shard_sources import shards
from ppvae.datasets.static_mnist import binarised_mnist
from ppvae.datasets.streamed import PixelArray, StreamedImages
from ppvae.datasets.table_rows import Rows
from ppvae.datasets.tables import rows, table
from ppvae.datasets.torchvision_sources import cifar10, emnist, fashion_mnist, mnist, svhn
from ppvae.datasets.zarr_stores import zarr

__all__ = [
    "Conversion",
    "DecodedImages",
    "ImageDataset",
    "Images",
    "Kind",
    "PixelArray",
    "RenderedImages",
    "Rows",
    "Scaling",
    "StoredImages",
    "StreamedImages",
    "binarised_mnist",
    "bumps",
    "celeba",
    "cifar10",
    "draw_sprites",
    "dsprites",
    "emnist",
    "factor",
    "fashion_mnist",
    "house_numbers",
    "image_folder",
    "in_units",
    "mnist",
    "npy",
    "npz",
    "omniglot",
    "rows",
    "shards",
    "sprite_grid",
    "sprites",
    "svhn",
    "table",
    "write_zarr",
    "zarr",
]
