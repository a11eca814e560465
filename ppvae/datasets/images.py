"""Images with their factors of variation, resident in memory or drawn on demand."""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.errors import UserError, check_whole

__all__ = ["ImageDataset", "Images", "RenderedImages", "StoredImages", "factor"]

type Index = slice | Sequence[int] | np.ndarray | Tensor


class Images(abc.ABC):
    """Images by index: `images[i]` is float32 in [0, 1], `images.stored(i)` the same as uint8.

    A slice, integer array or boolean mask gives (n, C, H, W), a plain integer (C, H, W).
    """

    shape: tuple[int, int, int, int]

    @abc.abstractmethod
    def stored(self, index: Index = slice(None)) -> Tensor:
        """uint8 images, shape (n, C, H, W); raises IndexError outside 0..N-1."""

    @abc.abstractmethod
    def subset(self, index: Index) -> "Images":
        """The images at `index`, of the same kind."""

    def __getitem__(self, index: int | Index) -> Tensor:
        if isinstance(index, int | np.integer):
            return self[[int(index)]][0]
        return self.stored(index).to(torch.float32).div_(255)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("floats are made from the stored bytes: np.asarray(images, copy=False) is not possible")
        return self[:].cpu().numpy().astype(dtype or np.float32, copy=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"


@final
class StoredImages(Images):
    """Images kept as one uint8 tensor of shape (N, C, H, W), on its device; slices are views."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        n, channels, rows, columns = pixels.shape
        self.shape = (n, channels, rows, columns)

    def stored(self, index: Index = slice(None)) -> Tensor:
        if isinstance(index, slice) and (index.step is None or index.step > 0):
            return self.pixels[index]
        return self.pixels[_positions(index, len(self)).to(self.pixels.device)]

    def subset(self, index: Index) -> "StoredImages":
        return StoredImages(self.stored(index))


@final
class RenderedImages(Images):
    """Images drawn when asked for: `render` maps (n,) positions (int64, CPU) to uint8 images (n, C, H, W)."""

    def __init__(
        self, render: Callable[[Tensor], Tensor], positions: Tensor, image_shape: tuple[int, int, int]
    ) -> None:
        self.render = render
        self.positions = positions
        self.shape = (len(positions), *image_shape)

    def stored(self, index: Index = slice(None)) -> Tensor:
        return self.render(self.positions[_positions(index, len(self))])

    def subset(self, index: Index) -> "RenderedImages":
        return RenderedImages(self.render, self.positions[_positions(index, len(self))], self.shape[1:])


@final
class ImageDataset:
    """Images (N, C, H, W) with the factors of variation that made them.

    `images`: uint8 in 0..255 (kept without copying), floats in [0, 1] (kept as uint8: rounded to the nearest of
    256 grey levels, an error of at most 1/510), or an `Images` object (how lazily drawn sets come in).
    `factors`: xarray.Dataset with dimension `image`, or a mapping from name to (N,) integers: each is the index of
    a level; attributes `levels` and `values` are filled in where missing.
    Raises UserError for empty, non-finite or out-of-range images, a wrong dtype or number of dimensions, and
    factors that do not fit the images.
    """

    def __init__(
        self, images: Any, factors: xr.Dataset | Mapping[str, Any] | None = None, name: str = "images"
    ) -> None:
        self.name = name
        self.images = images if isinstance(images, Images) else StoredImages(_pixels(images))
        self._table = _factor_table({} if factors is None else factors, len(self))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.images.shape[1:]

    @property
    def factors(self) -> xr.Dataset | None:
        """Level index of every factor (image), with attributes `levels` and `values`; None where unknown."""
        return self._table if self._table.data_vars else None

    def stored(self, index: Index = slice(None)) -> Tensor:
        """uint8 images (n, C, H, W), drawn now if the set is lazy: what a training loop keeps on its device."""
        return self.images.stored(index)

    def subset(self, index: Index) -> "ImageDataset":
        """The dataset at `index`, with the matching factors; the `image` coordinate keeps the original numbers."""
        rows = _positions(index, len(self))
        if not len(rows):
            raise UserError(f"subset of {self.name!r}: the index selects no image of {len(self)}; select at least one")
        return ImageDataset(self.images.subset(index), self._table.isel(image=rows.numpy()), self.name)

    def batches(self, batch_size: int, seed: int | None = None, drop_last: bool = True) -> Iterator[Tensor]:
        """One pass of float32 batches (batch_size, C, H, W) in [0, 1]; shuffled when a seed is given.

        The last, smaller batch is left out unless `drop_last=False`. Raises UserError for a batch size below one,
        or above the number of images when nothing would be left.
        """
        n = len(self)
        check_whole("batch_size", batch_size, 1)
        if drop_last and batch_size > n:
            raise UserError(
                f"batch_size={batch_size} is more than the {n} images of {self.name!r}: no batch would be left;"
                " take a smaller one or drop_last=False"
            )
        order = torch.arange(n) if seed is None else torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        stop = n - n % batch_size if drop_last else n
        return (self.images[order[start : start + batch_size]] for start in range(0, stop, batch_size))

    def to_xarray(self, index: Index = slice(None)) -> xr.Dataset:
        """xarray.Dataset of `images` (image, channel, row, column), float32 in [0, 1], and the factors (image)."""
        table = self._table.isel(image=_positions(index, len(self)).numpy())
        channels = {1: ["grey"], 3: ["red", "green", "blue"]}.get(self.image_shape[0])
        images = xr.DataArray(
            self.images[index].cpu().numpy(),
            dims=("image", "channel", "row", "column"),
            coords={} if channels is None else {"channel": channels},
            attrs={"long_name": "pixel intensity", "units": "1", "valid_range": [0.0, 1.0]},
        )
        return table.assign(images=images).assign_attrs(title=table.attrs.get("title", self.name), name=self.name)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.image_shape))
        levels = ", ".join(f"{key} {values.attrs['levels']}" for key, values in self._table.items())
        kind = "resident" if isinstance(self.images, StoredImages) else "drawn on demand"
        return f"ImageDataset({self.name!r}: {len(self)} images {shape}, {kind}; factors: {levels or 'none'})"


def factor(index: Any, values: Sequence[Any], **attrs: Any) -> xr.DataArray:
    """A factor of variation: (N,) indices into `values` (one number or name a level), with further attributes."""
    return xr.DataArray(np.asarray(index), dims="image", attrs={"levels": len(values), "values": list(values), **attrs})


def _positions(index: Index, n: int) -> Tensor:
    """(m,) int64 positions in 0..n-1 for a slice, integers (negative ones count from the end) or a mask."""
    if isinstance(index, slice):
        return torch.arange(*index.indices(n))
    positions = (index if isinstance(index, Tensor) else torch.from_numpy(_native(index))).cpu()
    if positions.dtype == torch.bool and positions.shape == (n,):
        return positions.nonzero()[:, 0]
    if positions.numel() == 0:
        return torch.empty(0, dtype=torch.int64)
    if positions.dtype == torch.bool or positions.is_floating_point() or positions.ndim != 1:
        kind = f"{positions.dtype} of shape {tuple(positions.shape)}"
        raise IndexError(f"index is {kind}: expected a slice, (m,) integers or a mask of shape ({n},)")
    positions = positions.to(torch.int64)
    if positions.min() < -n or positions.max() >= n:
        raise IndexError(f"index {int(positions.min())}..{int(positions.max())} is outside the {n} images")
    return positions % n


def _native(index: Any) -> np.ndarray:
    array = np.array(index)
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _pixels(images: Any) -> Tensor:
    """uint8 (N, C, H, W) from what a user gave, or a UserError."""
    tensor = images.detach() if isinstance(images, Tensor) else _tensor(np.asarray(images))
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
    return _quantised(tensor) if tensor.is_floating_point() else _bytes(tensor)


def _tensor(array: np.ndarray) -> Tensor:
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


def _quantised(tensor: Tensor) -> Tensor:
    if not tensor.isfinite().all():
        bad = int((~tensor.isfinite()).sum())
        raise UserError(f"images hold {bad} NaN or infinite values: expected floats in [0, 1]; mend or drop them")
    low, high = tensor.min().item(), tensor.max().item()
    if low < 0 or high > 1:
        raise UserError(f"float images in {low:g}..{high:g}: expected [0, 1]; rescale them, or pass uint8 in 0..255")
    return (tensor * 255).round_().to(torch.uint8)


def _factor_table(factors: xr.Dataset | Mapping[str, Any], n: int) -> xr.Dataset:
    """The factors as a Dataset over `image`, checked against n images; without variables where there are none."""
    if not isinstance(factors, Mapping):
        raise UserError(
            f"factors of type {type(factors).__name__}: expected an xarray.Dataset or a mapping name -> levels"
        )
    described = isinstance(factors, xr.Dataset)
    if described and factors.sizes.get("image", n) != n:
        raise UserError(f"factors of {factors.sizes['image']} images: expected {n}, as many as there are images")
    variables = {name: _factor_variable(name, values, n) for name, values in factors.items()}
    image = factors["image"].values if described and "image" in factors.coords else np.arange(n)
    return xr.Dataset(variables, coords={"image": image}, attrs=factors.attrs if described else None)


def _factor_variable(name: str, values: Any, n: int) -> xr.Variable:
    index = np.asarray(values)
    if name in ("image", "images", "channel", "row", "column"):
        raise UserError(f"factor {name!r} has the name of an image axis: rename it")
    if index.shape != (n,):
        raise UserError(f"factor {name!r} has shape {index.shape}: expected ({n},), one level an image")
    if index.dtype.kind not in "iu":
        raise UserError(f"factor {name!r} has dtype {index.dtype}: expected integers, the index of a level")
    attrs = dict(values.attrs) if isinstance(values, xr.DataArray) else {}
    levels = attrs.setdefault("levels", int(index.max()) + 1)
    attrs.setdefault("values", list(range(levels)))
    if index.min() < 0 or index.max() >= levels or len(attrs["values"]) != levels:
        raise UserError(
            f"factor {name!r} holds {index.min()}..{index.max()}, levels={levels}, {len(attrs['values'])} values:"
            f" expected indices in 0..{levels - 1} and one value a level"
        )
    return xr.Variable("image", index, attrs)
