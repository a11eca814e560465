"""What a user gives as images, checked and kept as bytes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.errors import UserError

__all__ = ["checked_pixels"]


def checked_pixels(images: Any, *, real: bool = False) -> Tensor:
    """uint8 (N, C, H, W) from what a user gave, for ``real`` float32 in [0, 1], or a UserError."""
    tensor = images.detach() if isinstance(images, Tensor) else _tensor(np.asarray(images), real)
    if tensor.ndim != 4:
        hint = "; add the channel axis: images[:, None]" if tensor.ndim == 3 else ""
        raise UserError(
            f"images of shape {tuple(tensor.shape)}: expected four axes (image, channel, row, column){hint}"
        )
    if tensor.numel() == 0:
        raise UserError(f"images of shape {tuple(tensor.shape)} are empty: expected at least one image of one pixel")
    if tensor.shape[3] in (1, 3, 4) and min(tensor.shape[1:3]) > 4:
        raise UserError(
            f"images of shape {tuple(tensor.shape)} look channel-last: expected (image, channel, row, column);"
            " move the axis: numpy.moveaxis(images, -1, 1)"
        )
    if tensor.is_floating_point():
        return _checked(tensor).to(torch.float32) if real else (_checked(tensor) * 255).round_().to(torch.uint8)
    return _bytes(tensor).to(torch.float32) / 255 if real else _bytes(tensor)


def _tensor(array: np.ndarray, real: bool) -> Tensor:
    if array.dtype == np.uint16:
        if not real:
            raise UserError(
                "images of dtype uint16: real=true keeps their 16 bits as numbers in [0, 1]; or convert them"
            )
        array = array.astype(np.float32) / np.float32(65535)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    if array.dtype not in (np.uint8, np.float32):
        raise UserError(f"images of dtype {array.dtype}: expected uint8 in 0..255 or floats in [0, 1]; convert them")
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _bytes(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.uint8:
        raise UserError(f"images of dtype {tensor.dtype}: expected uint8 in 0..255 or floats in [0, 1]; convert them")
    if tensor.max() == 1:
        raise UserError("uint8 images whose largest value is 1: expected 0..255; multiply binary images by 255")
    return tensor


def _checked(tensor: Tensor) -> Tensor:
    if not tensor.isfinite().all():
        bad = int((~tensor.isfinite()).sum())
        raise UserError(f"images hold {bad} NaN or infinite values: expected floats in [0, 1]; mend or drop them")
    low, high = tensor.min().item(), tensor.max().item()
    if low < 0 or high > 1:
        raise UserError(f"float images in {low:g}..{high:g}: expected [0, 1]; rescale them, or pass uint8 in 0..255")
    return tensor
