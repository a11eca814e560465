"""Images with their factors of variation, and how a likelihood sees them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.datasets.conversion import Binarise, Conversion, Dequantise, Kind
from ppvae.datasets.factors import factor_table
from ppvae.datasets.images import Images, Index, StoredImages, positions
from ppvae.datasets.inputs import checked_inputs
from ppvae.datasets.pixels import checked_pixels
from ppvae.datasets.splitting import held_apart
from ppvae.datasets.streamed import StreamedImages, read_ahead
from ppvae.datasets.table_rows import Rows
from ppvae.errors import UserError, check_whole

__all__ = ["ImageDataset"]


@final
class ImageDataset:
    """Images (N, C, H, W) with the factors of variation that made them.

    ``images``: uint8 in 0..255 (kept without copying), floats in [0, 1] (kept as uint8: rounded to the nearest of
    256 grey levels, an error of at most 1/510, or with ``real`` as float32), or an ``Images`` object (how lazily drawn
    sets come in).
    ``factors``: xarray.Dataset with dimension ``image``, or a mapping from name to (N,) or (N, 1): integers, each the
    index of a level; text, booleans and whole floats, which become levels; or other floats, a continuous factor.
    Attributes ``levels`` and ``values`` are filled in where missing; a continuous factor has none. A coordinate
    ``file`` (image) of a Dataset names the images' files.
    ``inputs``: what programs are called with beside the images: names of factors, whose levels they get as (N,) int64
    (of continuous ones the numbers), or a mapping from name to (N, ...) numbers, such as a second image.
    ``binarise``, ``dequantise``, ``threshold``: what ``batches`` and ``observed`` make of the pixels, see
    ``Conversion``; ``images`` and ``stored`` stay as they are.
    Errors: :class:`~ppvae.errors.UserError` for empty, non-finite or out-of-range images, a wrong dtype or number of
    dimensions, factors or inputs that do not fit the images, and a conversion that does not exist.
    """

    def __init__(
        self,
        images: Any,
        factors: xr.Dataset | Mapping[str, Any] | None = None,
        name: str = "images",
        *,
        inputs: Sequence[str] | Mapping[str, Any] = (),
        binarise: Binarise = "none",
        dequantise: Dequantise = "none",
        threshold: float = 0.5,
        real: bool = False,
    ) -> None:
        self.conversion = Conversion(binarise, dequantise, threshold)
        self.name = name
        self.images = images if isinstance(images, Images) else StoredImages(checked_pixels(images, real=real))
        if self.images.real and self.conversion != Conversion(threshold=threshold):
            raise UserError(
                f"binarise={binarise!r}, dequantise={dequantise!r} of real numbers: both are of 256 grey levels; leave"
                " them at 'none', or give images with real=false"
            )
        self._table = factor_table({} if factors is None else factors, len(self))
        self.inputs = checked_inputs(inputs, self._table)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.images.shape[1:]

    @property
    def kind(self) -> Kind:
        """What a likelihood gets to see: ``binary`` zeros and ones, ``8-bit`` grey levels k/255 or ``real`` numbers."""
        return self.conversion.kind(self.images.kind)

    @property
    def description(self) -> str:
        """What to name beside every result: ``mnist test, 10000 images 1×28×28, binarised dynamically``."""
        return self.images.describe(self.name, self.conversion.describe(self.images.kind))

    @property
    def factors(self) -> xr.Dataset | None:
        """Level index of every factor (image), with attributes ``levels`` and ``values``, or the numbers of a
        continuous one, without; None where unknown."""
        return self._table.drop_vars("file", errors="ignore") if self._table.data_vars else None

    @property
    def table(self) -> xr.Dataset:
        """Of every image its number ``image``, its ``file`` where there are files, and its factors."""
        return self._table

    @property
    def files(self) -> np.ndarray | None:
        """Each image's file, (N,) text, by its name below the folder or archive; None where there are no files."""
        return self._table["file"].values if "file" in self._table.coords else None

    def stored(self, index: Index = slice(None)) -> Tensor:
        """Images (n, C, H, W), uint8 or, of real pixels, float32, drawn now if the set is lazy: what a training loop
        keeps on its device."""
        return self.images.stored(index)

    def observed(self, index: Index = slice(None), seed: int = 0) -> Tensor:
        """Floats (n, C, H, W) as a likelihood takes them, for evaluation.

        The noise of an image depends on ``seed`` and the image's number alone: evaluating in parts, or on a subset,
        sees the same images. The global random state stays as it is.
        """
        check_whole("seed", seed, 0)
        pixels = self.images.stored(index)
        if not self.conversion.random:
            return self.conversion(pixels)
        numbers = self._table["image"].values
        rows = positions(index, len(self)).numpy()
        noise = _noise(numbers[rows] if numbers.dtype.kind in "iu" else rows, self.image_shape, seed)
        return self.conversion(pixels, noise.to(pixels.device))

    def arguments(self, index: Index = slice(None), seed: int = 0) -> tuple[Tensor, ...]:
        """What a program is called with: the ``observed`` images, then the ``inputs`` of the same images."""
        return self.observed(index, seed), *self.given(index)

    def given(self, index: Index = slice(None)) -> tuple[Tensor, ...]:
        """The inputs beside the images, (n, ...) each, in order."""
        rows = positions(index, len(self))
        return tuple(values[rows] for values in self.inputs.values())

    def with_inputs(self, *factors: str, **arrays: Any) -> "ImageDataset":
        """The same images with other inputs beside them: factors by name, then arrays (N, ...)."""
        named = checked_inputs(factors, self._table) | checked_inputs(arrays, self._table)
        return self._with(self.images, self._table, named)

    def subset(self, index: Index) -> "ImageDataset":
        """The dataset at ``index``, with the matching factors; the ``image`` coordinate keeps the original numbers."""
        rows = positions(index, len(self))
        if not len(rows):
            raise UserError(f"subset of {self.name!r}: the index selects no image of {len(self)}; select at least one")
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return self._with(self.images.subset(index), self._table.isel(image=rows.numpy()), inputs)

    def split(self, share: float, seed: int = 0) -> tuple["ImageDataset", "ImageDataset"]:
        """The images without a ``share`` of them, drawn by ``seed``, and that share: for training and for validation.

        Any source, drawn on demand or not, is split alike; the ``image`` coordinates keep the original numbers. Rows of
        a table are standardised by those that stay.
        """
        kept, apart = (self.subset(index) for index in held_apart(len(self), share, seed))
        return kept.scaled_as(kept), apart.scaled_as(kept)

    def scaled_as(self, training: "ImageDataset") -> "ImageDataset":
        """The same rows of a table in units fitted to those of ``training``; images as they are."""
        scaled = self.images.scaled_as(training.images)
        return self if scaled is self.images else self._with(scaled, self._table, self.inputs)

    def resident(self) -> "ImageDataset":
        """The same dataset with all images drawn, or decoded, now and kept in memory."""
        if isinstance(self.images, StoredImages | Rows):
            return self
        return self._with(StoredImages(self.images.stored(), self.images.binary or None), self._table, self.inputs)

    def batches(
        self, batch_size: int, seed: int | None = None, drop_last: bool = True
    ) -> Iterator[Tensor | tuple[Tensor, ...]]:
        """One pass of converted float batches (batch_size, C, H, W) in [0, 1]; shuffled when a seed is given, images
        on disk as ``StreamedImages.shuffled`` says.

        With ``inputs``, tuples of such a batch and theirs: ``svi.step(*batch)``.

        The seed also decides the noise of a random conversion; without one it comes from the global random state.
        The last, smaller batch is left out unless ``drop_last=False``.
        Errors: :class:`~ppvae.errors.UserError` for a batch size below one, or above the number of images when nothing
        would be left.
        """
        n = len(self)
        check_whole("batch_size", batch_size, 1)
        if drop_last and batch_size > n:
            raise UserError(
                f"batch_size={batch_size} is more than the {n} images of {self.name!r}: no batch would be left;"
                " take a smaller one or drop_last=False"
            )
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        stop = n - n % batch_size if drop_last else n
        if isinstance(self.images, StreamedImages) and generator is not None:
            order, windows = self.images.shuffled(generator)
            parts = order[:stop].split(batch_size)
            pixels = read_ahead(self.images, parts, windows[:stop:batch_size])
        else:
            order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
            parts = order[:stop].split(batch_size)
            pixels = map(self.images.stored, parts)
        return (self._converted(part, index, generator) for part, index in zip(pixels, parts, strict=True))

    def to_xarray(self, index: Index = slice(None)) -> xr.Dataset:
        """xarray.Dataset of the stored ``images`` (image, channel, row, column), float32 in [0, 1], and the factors
        (image); the attributes ``kind``, ``binarise``, ``dequantise`` and ``description`` say what a likelihood sees.

        Of a table ``rows`` (image, column), in the columns' own units and under their names.
        """
        table = self._table.isel(image=positions(index, len(self)).numpy())
        if isinstance(self.images, Rows):
            found = table.assign(rows=self.images.to_xarray(index))
            return found.assign_attrs(name=self.name, description=self.description, kind=self.kind)
        channels = {1: ["grey"], 3: ["red", "green", "blue"]}.get(self.image_shape[0])
        images = xr.DataArray(
            self.images[index].cpu().numpy(),
            dims=("image", "channel", "row", "column"),
            coords={} if channels is None else {"channel": channels},
            attrs={"long_name": "pixel intensity", "units": "1", "valid_range": [0.0, 1.0]},
        )
        return table.assign(images=images).assign_attrs(
            title=table.attrs.get("title", self.name),
            name=self.name,
            description=self.description,
            kind=self.kind,
            binarise=self.conversion.binarise,
            dequantise=self.conversion.dequantise,
        )

    def __repr__(self) -> str:
        levels = ", ".join(f"{key} {values.attrs.get('levels', 'continuous')}" for key, values in self._table.items())
        where = "resident" if isinstance(self.images, StoredImages | Rows) else "drawn on demand"
        inputs = f"; inputs: {', '.join(self.inputs)}" if self.inputs else ""
        return f"ImageDataset({self.description}; {where}; factors: {levels or 'none'}{inputs})"

    def _with(self, images: Images, table: xr.Dataset, inputs: Mapping[str, Tensor]) -> "ImageDataset":
        how = self.conversion
        options = {"binarise": how.binarise, "dequantise": how.dequantise, "threshold": how.threshold}
        return ImageDataset(images, table, self.name, inputs=inputs, **options)

    def _converted(
        self, pixels: Tensor, index: Tensor, generator: torch.Generator | None
    ) -> Tensor | tuple[Tensor, ...]:
        noise = None
        if self.conversion.random and generator is not None:
            noise = torch.rand(pixels.shape, generator=generator).to(pixels.device)
        images = self.conversion(pixels, noise)
        return (images, *self.given(index)) if self.inputs else images


def _noise(numbers: np.ndarray, shape: tuple[int, int, int], seed: int) -> Tensor:
    """float32 U[0, 1) of every image, (n, C, H, W): a counter-based generator gives each number its own stream."""
    noise = np.empty((len(numbers), *shape), dtype=np.float32)
    for row, number in zip(noise, numbers.tolist(), strict=True):
        generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, number % 2**64]))
        generator.random(dtype=np.float32, out=row)
    return torch.from_numpy(noise)
