"""The rows of a table, each as an image of one line: 1 × 1 × D."""

from functools import cached_property
from typing import Any, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.datasets.conversion import Kind
from ppvae.datasets.images import Images, Index, positions
from ppvae.datasets.scaling import Scaling
from ppvae.errors import UserError
from ppvae.nouns import ROW

__all__ = ["Rows"]


@final
class Rows(Images):
    """Rows of numbers kept as float64, (N, D); NaN is a missing entry.

    ``stored`` gives what a pair sees, floats (n, 1, 1, D) of torch's default type with the scaling taken off, and NaN
    where an entry is missing. ``kind``: ``real``, ``counts`` or ``binary``; only real values are scaled.
    ``columns``: their names, (D,).
    """

    real = True
    noun = ROW

    def __init__(self, values: np.ndarray, columns: np.ndarray, kind: Kind, scaling: Scaling) -> None:
        self.values, self.columns, self.scaling = values, columns, scaling
        self._kind = kind
        self.shape = (len(values), 1, 1, values.shape[1])
        self.binary = kind == "binary"

    @property
    def kind(self) -> Kind:
        return self._kind

    @cached_property
    def pixels(self) -> Tensor:
        """All rows as a pair sees them."""
        return torch.from_numpy(self.scaling(self.values)).to(torch.get_default_dtype())[:, None, None]

    @property
    def missing(self) -> float:
        """The share of entries that are missing."""
        return float(np.isnan(self.values).mean())

    def stored(self, index: Index = slice(None)) -> Tensor:
        return self.pixels[index if isinstance(index, slice) else positions(index, len(self))]

    def subset(self, index: Index) -> "Rows":
        rows = positions(index, len(self)).numpy()
        return Rows(self.values[rows], self.columns, self.kind, self.scaling)

    def scaled_as(self, training: Images) -> "Rows":
        if not isinstance(training, Rows) or self.scaling.mode is None:
            return self
        scaling = Scaling.of(training.values, self.columns, self.scaling.mode)
        return Rows(self.values, self.columns, self.kind, scaling)

    def describe(self, name: str, seen: str) -> str:
        """``spectra, 10000 rows of 120 columns, real, standardised, 10 % of the entries missing``."""
        scaled = ", standardised" if (self.scaling.scale != 1).any() or self.scaling.center.any() else ""
        gaps = f", {100 * self.missing:.3g} % of the entries missing" if self.missing else ""
        return f"{name}, {len(self)} rows of {len(self.columns)} columns, {seen}{scaled}{gaps}"

    def to_xarray(self, index: Index = slice(None)) -> xr.DataArray:
        """(image, column) in the columns' own units and under their names."""
        rows = positions(index, len(self)).numpy()
        return xr.DataArray(self.values[rows], {"column": self.columns}, ("image", "column"), "rows")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pixels.numpy(), dtype=dtype, copy=copy)

    @classmethod
    def checked(cls, values: np.ndarray, columns: Any, kind: str, scaling: Any) -> "Rows":
        """Rows of what a user gave; UserError in one line for what is none."""
        values, names = np.asarray(values, np.float64), np.asarray(columns)
        if values.ndim != 2 or not values.size:
            raise UserError(f"a table of shape {values.shape}: expected (row, column), at least one of each")
        if names.shape != values.shape[1:]:
            raise UserError(f"{names.size} names for {values.shape[1]} columns: give one to each")
        if len(set(names.tolist())) < len(names):
            twice = next(name for name in names.tolist() if (names == name).sum() > 1)
            raise UserError(f"column {twice!r} is there twice: give each a name of its own")
        if (infinite := np.isinf(values).any(0)).any():
            name = str(names[infinite.argmax()])
            raise UserError(f"column {name!r} holds infinite values: mend them, or leave them empty, which is missing")
        kind = _checked_kind(values, names, kind)
        return cls(values, names, kind, _scaling(values, names, kind, scaling))


def _scaling(values: np.ndarray, names: np.ndarray, kind: Kind, scaling: Any) -> Scaling:
    if scaling not in ("standard", "none"):
        return Scaling.read(scaling, names)
    return Scaling.of(values, names, scaling if kind == "real" else "none")


def _checked_kind(values: np.ndarray, names: np.ndarray, kind: str) -> Kind:
    """What the values are; UserError where they are not what was said."""
    allowed = {
        "binary": ("zeros and ones", np.isin(values, (0, 1))),
        "counts": ("whole numbers of at least zero", (values >= 0) & (values == np.floor(values))),
        "real": ("numbers", True),
    }
    if kind not in allowed:
        raise UserError(f"kind={kind!r}: expected one of {', '.join(allowed)}")
    words, right = allowed[kind]
    wrong = ~(right | np.isnan(values))
    if wrong.any():
        column = wrong.any(0).argmax()
        name, value = str(names[column]), values[wrong[:, column].argmax(), column]
        raise UserError(f"kind={kind!r}: column {name!r} holds {value:g}, expected {words}; give kind=real")
    return kind
