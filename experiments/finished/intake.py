"""What a user gives a finished run, as the run's pair sees images: fitted, converted and scaled as its own were."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ppvae.datasets import ImageDataset, Rows, npy, npz, rows, zarr
from ppvae.datasets.decoded import DecodedImages, settle
from ppvae.datasets.file_sources import celeba_reader, omniglot_reader
from ppvae.datasets.fitting import Fit, fitted_pixels, said_fit
from ppvae.datasets.image_files import image_files
from ppvae.datasets.opening import NotAsAsked, is_grey, opened_picture, reading_picture
from ppvae.datasets.picture_reader import picture_reader, settled_reader
from ppvae.datasets.pixels import checked_pixels
from ppvae.datasets.reading import reading
from ppvae.datasets.table_files import read_table
from ppvae.datasets.tables import numbers_of
from ppvae.errors import UserError
from ppvae.ordinary import open_ordinary

__all__ = ["Images", "Intake"]

logger = logging.getLogger(__name__)

type Images = ImageDataset | Tensor | np.ndarray | xr.DataArray | pd.DataFrame | str | PathLike[str] | Sequence[Any]
"""Images (image, C, H, W) or one (C, H, W), uint8 or floats in [0, 1]; a file, files, a folder or an archive of them;
rows of a table (row, column), or its file; or a data set."""

HOW = ("background", "real", "transforms")  # of a folder of pictures, kept for further ones
CONVERTED = ("binarise", "dequantise")
ARRAYS: dict[str, tuple[Callable[..., ImageDataset], tuple[str, ...]]] = {
    ".npz": (npz, ("images", "labels", "real")),
    ".npy": (npy, ("real",)),
    ".zarr": (zarr, ("images", "labels", "real")),
}
LISTED = 8


@dataclass(frozen=True)
class Intake:
    """How a run with this configuration, in this folder, takes what it is given."""

    configuration: DictConfig
    folder: Path

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return tuple(self.configuration.image_shape)

    @property
    def of_rows(self) -> bool:
        """Whether the run is of a table's rows, whose scaling it keeps."""
        return (self.folder / "columns.csv").is_file()

    def dataset(self, images: Images, fit: Fit | None = None) -> ImageDataset:
        """``images`` as a data set; ``fit`` what becomes of another shape, by default as in the run's own data.

        Errors: :class:`~ppvae.UserError`, one line, for what the pair does not take: another shape, colours where the
        run's images are grey, other columns.
        """
        if self.of_rows:
            return self._rows(images)
        if isinstance(images, ImageDataset):
            self._check(images.image_shape)
            return images
        if isinstance(images, str | PathLike):
            return self._at(Path(fspath(images)), fit)
        if isinstance(images, list | tuple) and images and all(isinstance(one, str | PathLike) for one in images):
            return self._files([fspath(one) for one in images], [Path(one).name for one in images], "files", fit)
        return ImageDataset(self._pixels(images, fit), **self._conversion(), real=self._real)

    @property
    def _data(self) -> DictConfig:
        return self.configuration.data

    @property
    def _real(self) -> bool:
        return bool(self._data.get("real", False))

    def _conversion(self) -> dict[str, Any]:
        return {name: self._data[name] for name in CONVERTED if name in self._data}

    def _at(self, path: Path, fit: Fit | None) -> ImageDataset:
        """A folder or archive of pictures, one picture, or an array's file."""
        if path.suffix.lower() in ARRAYS:
            return self._array(path, fit)
        if path.is_file() and path.suffix.lower() != ".zip":
            return self._files([str(path)], [path.name], path.name, fit)
        found = image_files(path)
        return self._files(found.paths, found.names, path.resolve().name, fit)

    def _array(self, path: Path, fit: Fit | None) -> ImageDataset:
        read, settings = ARRAYS[path.suffix.lower()]
        how = {name: self._data[name] for name in (*settings, *CONVERTED) if self._data.get(name) is not None}
        data = read(path, **how)
        if read is npz and data.image_shape != self.image_shape:
            fit, own = fit or self._data.get("fit"), data.image_shape
            data = read(path, **how, image_size=self.image_shape[1:], fit=fit)
            self._say_fitted(own, fit, path)
        self._check(data.image_shape)
        return data

    def _say_fitted(self, shape: Sequence[int], fit: Fit | None, path: str | Path) -> None:
        """Log what becomes of pictures of another size than the run's, as the one in ``path``."""
        (_, *own), (_, *size) = shape, self.image_shape
        if own != size:
            border = self._data.get("background") or "black"
            scaled = "resized" if own[0] * size[1] == own[1] * size[0] else said_fit(fit, border)
            logger.info(
                "pictures of %d × %d, as in %s, are %s to the run's %d × %d", *own, Path(path).name, scaled, *size
            )

    def _files(self, paths: Sequence[str], names: Sequence[str], name: str, fit: Fit | None) -> ImageDataset:
        table = xr.Dataset(coords={"file": ("image", np.array(names, dtype=str)), "image": np.arange(len(names))})
        images = DecodedImages(paths, self._reader(fit, paths[0]), self.image_shape, real=self._real)
        data = ImageDataset(images, table, name, **self._conversion())
        return settle(data, "auto")

    def _reader(self, fit: Fit | None, first: str) -> Callable[[str], Tensor]:
        """A picture's path → an image as the run's own."""
        source, data = str(self._data.get("_target_")).rpartition(".")[2], self._data
        channels, *size = self.image_shape
        if source == "celeba" and fit is None:
            return celeba_reader(size[0], data.crop)
        if source == "omniglot" and fit is None:
            return omniglot_reader(size[0])
        if channels not in (1, 3):
            raise UserError(f"the run's images have {channels} channels, pictures 1 or 3: give it an array of images")
        given: Any = OmegaConf.to_object(data)
        how = {name: given[name] for name in HOW if given.get(name) is not None} | {"channels": channels}
        asked = picture_reader(image_size=size, fit=fit or data.get("fit"), **how)
        reader, _ = settled_reader(asked, first)
        self._say_fitted(replace(asked, image_size=None, fit=None)(first).shape, asked.fit, first)
        return GreyOnly(reader) if channels == 1 and data.get("channels") != 1 else reader

    def _pixels(self, images: Any, fit: Fit | None) -> Tensor:
        """(image, C, H, W) of an array, one image taken as one."""
        array = images.values if isinstance(images, xr.DataArray) else images
        array = torch.as_tensor(array) if isinstance(array, Tensor) else np.asarray(array)
        channels, *size = self.image_shape
        if array.ndim == 2 and channels == 1:
            array = array[None]
        if array.ndim == 3:
            array = array[:, None] if channels == 1 else array[None]  # grey images may lack the axis of channels
        if fit is None:
            self._check(tuple(array.shape[1:]))
        pixels = checked_pixels(array, real=self._real)
        if fit is not None:
            pixels = fitted_pixels(pixels, size, fit, self._data.get("background") or "black")
        self._check(tuple(pixels.shape[1:]))
        return pixels

    def _check(self, shape: tuple[int, ...]) -> None:
        if shape == self.image_shape:
            return
        channels, *size = self.image_shape
        remedy = "give fit=crop, pad or stretch, or images of that size"
        if shape[-1:] == (channels,) and shape[:-1] == tuple(size):
            remedy = "move the channels first: numpy.moveaxis(images, -1, -3)"
        elif shape[:1] != (channels,):
            remedy = "give images of as many channels"
        raise UserError(f"images of shape {shape}, the run's are {self.image_shape}, channels, rows, columns: {remedy}")

    def _rows(self, given: Images) -> ImageDataset:
        """Rows in the columns' own units, by the columns' names, seen with the run's own scaling."""
        columns = self.columns
        scaling, kind = str(self.folder / "columns.csv"), str(self._data.get("kind", "real"))
        if isinstance(given, ImageDataset):
            if not isinstance(given.images, Rows):
                raise UserError(f"{given.description}: the run is of a table's rows; give rows of its columns")
            frame = self._ordered(pd.DataFrame(given.images.values, columns=given.images.columns))
            images = Rows.checked(frame.to_numpy(np.float64), columns, kind, scaling)
            return ImageDataset(images, given.table, given.name, inputs=given.inputs)
        if isinstance(given, str | PathLike):
            aside = [str(name) for key in ("labels", "leave_out") for name in self._data.get(key) or ()]
            frame = read_table(given, self._data.get("array", "table"), aside)
            frame = numbers_of(frame, given, [name for name in aside if name in frame])
            name = Path(given).stem
        else:
            frame, name = _frame(given, columns), "rows"
        return rows(self._ordered(frame), kind=kind, scaling=scaling, name=name)

    @property
    def columns(self) -> list[str]:
        """Of the run's table, in order."""
        path = self.folder / "columns.csv"
        with reading(path, "list of columns", "rerun= repeats the run"), open_ordinary(path) as file:
            return pd.read_csv(file, dtype={"column": str}, keep_default_na=False)["column"].tolist()

    def _ordered(self, frame: pd.DataFrame) -> pd.DataFrame:
        columns = self.columns
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
        missing = [name for name in columns if name not in frame]
        others = [name for name in frame if name not in columns]
        if missing or others:
            said = [f"{word} {_listed(names)}" for word, names in (("lacks", missing), ("has", others)) if names]
            raise UserError(
                f"the table {' and '.join(said)}: give the {len(columns)} columns that the run was trained on, "
                f"{_listed(columns)}"
            )
        return frame[columns]


@dataclass(frozen=True)
class GreyOnly:
    """A reader of pictures that refuses one with colours, as the run's are grey."""

    reader: Callable[[str], Tensor]

    def __call__(self, path: str) -> Tensor:
        with reading_picture(path), opened_picture(path) as (file, _):
            if not is_grey(file):
                raise NotAsAsked("it has colours, the run's images are grey: convert it, as by Pillow's convert('L')")
        return self.reader(path)


def _frame(given: Any, columns: list[str]) -> pd.DataFrame:
    """A table in memory; one without names has the run's columns in their order, and one row may be a vector."""
    if isinstance(given, xr.DataArray):
        given = given.to_pandas()
    if isinstance(given, pd.Series):
        given = given.to_frame().T
    if isinstance(given, pd.DataFrame):
        return given
    try:
        array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"a {type(given).__name__} of what are no numbers: give the run rows of its columns") from None
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != len(columns):
        raise UserError(f"rows of shape {array.shape}: expected (row, {len(columns)}), a number for each column")
    return pd.DataFrame(array, columns=columns)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:LISTED])) + (", …" if len(names) > LISTED else "")
