"""Transformations of images that destroy a chosen part of their information: what the auxiliary task is made of."""

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ppvae.described import Described, shown
from ppvae.errors import UserError, check_positive, check_whole
from ppvae.networks.causal.pixels import LUMA

__all__ = ["Blur", "Compose", "GreyScale", "PatchShuffle", "Quantise"]

_RED, _GREEN, _ = LUMA


@final
class PatchShuffle(Described, nn.Module):
    """Each image's square tiles in an order of its own, drawn anew at every call: the global structure is gone.

    x̂ = g(x): x is cut into m = (H/patch)·(W/patch) tiles of ``patch`` × ``patch`` pixels, all channels together, which
    one of the m! permutations, each as likely, puts in new places. Drawn from the random state of the images' device.
    Shapes: images (..., C, H, W) of any dtype → the same.
    Errors: :class:`~ppvae.errors.UserError` for tiles that do not fill the image.
    Source: "Explicit information placement on latent variables using auxiliary generative modelling task", submitted
    to ICLR 2019, Sec. 2.2.
    """

    def __init__(self, patch: int) -> None:
        super().__init__()
        check_whole("patch", patch, 1)
        self.patch = patch

    def forward(self, images: Tensor) -> Tensor:
        channels, rows, columns = _image_shape(images)
        if rows % self.patch or columns % self.patch:
            raise UserError(
                f"patch={self.patch}: tiles do not fill images of {rows} × {columns}; give a divisor of"
                f" {math.gcd(rows, columns)}"
            )
        down, across = rows // self.patch, columns // self.patch
        count = math.prod(images.shape[:-3])
        cut = images.reshape(count, channels, down, self.patch, across, self.patch).permute(0, 1, 3, 5, 2, 4)
        # doubles: among the 1024 keys of single pixels floats would often tie, and ties keep their order; their bits,
        # as doubles from 0 up sort like them and whole numbers sort faster
        keys = torch.rand(count, down * across, dtype=torch.float64, device=images.device).view(torch.int64)
        tiles = cut.reshape(count, channels * self.patch**2, down * across)
        shuffled = tiles.gather(-1, keys.argsort(-1)[:, None].expand_as(tiles)).reshape(cut.shape)
        return shuffled.permute(0, 1, 4, 2, 5, 3).reshape(images.shape)


@final
class GreyScale(Described, nn.Module):
    """Every channel becomes the luma Y = 0.299 R + 0.587 G + 0.114 B: the colour is gone, the channels stay.

    Shapes: floats (..., 3, H, W) → the same; (..., 1, H, W) is grey already. A grey image stays as it is, to the bit.
    Y lies between the least and the largest of R, G and B, but among 256 levels only after ``Quantise``.
    Errors: :class:`~ppvae.errors.UserError` for another number of channels, and for bytes.
    Source: ITU-R Recommendation BT.601-7, Sec. 2.5.1.
    """

    def forward(self, images: Tensor) -> Tensor:
        channels = _image_shape(_floats(images))[0]
        if channels not in (1, 3):
            raise UserError(f"images of {channels} channels: GreyScale takes red, green and blue, or one grey channel")
        red, green, blue = images.expand(*images.shape[:-3], 3, *images.shape[-2:]).unbind(-3)
        luma = blue + _RED * (red - blue) + _GREEN * (green - blue)  # so written, equal channels give themselves
        return torch.stack([luma] * channels, -3)


@final
class Blur(Described, nn.Module):
    """Convolution with a Gaussian of standard deviation ``sigma`` pixels: fine detail is gone.

    k(d) ∝ exp(-d²/2σ²) at whole d, |d| ≤ ⌈3σ⌉, normalised; along rows, then columns, the image mirrored at its border
    (the border's pixels once).
    Shapes: floats (..., C, H, W) → the same.
    Errors: :class:`~ppvae.errors.UserError` for a ``sigma`` that is not positive or whose kernel is wider than the
    mirrored image, and for bytes.
    """

    kernel: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        check_positive("sigma", sigma)
        self.sigma = sigma
        self.radius = math.ceil(3 * sigma)
        distance = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (distance / sigma).square())
        self.register_buffer("kernel", (kernel / kernel.sum()).to(torch.get_default_dtype()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        _, rows, columns = _image_shape(_floats(images))
        if self.radius >= min(rows, columns):
            largest = (min(rows, columns) - 1) / 3
            raise UserError(f"sigma={self.sigma}: images of {rows} × {columns} can be blurred by {largest:g} at most")
        kernel = self.kernel.to(images)
        planes = functional.pad(images.reshape(-1, 1, rows, columns), [self.radius] * 4, mode="reflect")
        blurred = functional.conv2d(functional.conv2d(planes, kernel[None, None, None]), kernel[None, None, :, None])
        return blurred.reshape(images.shape)


@final
class Quantise(Described, nn.Module):
    """The nearest of ``levels`` equally spaced grey levels of [0, 1]: what a likelihood of 8-bit pixels takes.

    Shapes: floats (..., C, H, W) → the same.
    Errors: :class:`~ppvae.errors.UserError` for fewer than two levels, and for bytes.
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        check_whole("levels", levels, 2)
        self.levels = levels

    def forward(self, images: Tensor) -> Tensor:
        top = self.levels - 1
        return (_floats(images) * top).round().clamp(0, top) / top


@final
class Compose(Described, nn.Module):
    """One transformation after the other, the first first; any callable images → images is one.

    Modules among them are submodules.
    Errors: :class:`~ppvae.errors.UserError` for what cannot be called.
    """

    def __init__(self, transformations: Sequence[Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        for transformation in transformations:
            if not callable(transformation):
                raise UserError(f"transformation {transformation!r}: expected a callable, images to images")
        self.transformations = tuple(transformations)
        self.modules_among = nn.ModuleList(t for t in self.transformations if isinstance(t, nn.Module))

    def forward(self, images: Tensor) -> Tensor:
        for transformation in self.transformations:
            images = transformation(images)
        return images

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(shown, self.transformations))}])"


def _image_shape(images: Tensor) -> tuple[int, int, int]:
    """(C, H, W)."""
    if images.ndim < 3:
        raise UserError(f"images of shape {tuple(images.shape)}: expected (..., channel, row, column)")
    return images.shape[-3:]


def _floats(images: Tensor) -> Tensor:
    if not images.is_floating_point():
        raise UserError(f"images of dtype {images.dtype}: expected floats in [0, 1], as a likelihood takes them")
    return images
