"""What each epoch measured."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from pyro.distributions.util import sum_rightmost

from ppvae.files import replace_atomically
from ppvae.pair.sites import Arrays, kl_names
from ppvae.pair.terms import Terms

__all__ = ["History", "Layout", "measured"]

NATS = (
    *("loss", "elbo", "rate", "distortion", "kl"),
    *("capacity", "mutual_information", "total_correlation", "marginal_kl"),
    *("validation_loss", "validation_elbo", "validation_rate", "validation_distortion"),
)
FEW = 10_000
"""So many numbers an epoch are kept; a history of more would fill its checkpoints."""

type Layout = list[tuple[str, tuple[str, ...], tuple[int, ...]]]


def measured(
    loss: torch.Tensor, terms: Terms, reported: Mapping[str, torch.Tensor] | None = None
) -> tuple[torch.Tensor, Layout]:
    """Batch means of one step as one flat vector, and what stands where: name, dims, shape of each part.

    ``reported``: further scalars of the objective.
    """
    parts = {"loss": ((), loss), "distortion": ((), terms.distortion.mean()), "rate": ((), terms.rate.mean())}
    parts |= _kls(terms)
    for name, (dims, value) in terms.recorded.items():
        parts[name] = (dims, value.flatten(0, -1 - len(dims)).mean(0))
    parts |= {name: ((), value) for name, value in (reported or {}).items()}
    layout = [(name, dims, tuple(value.shape)) for name, (dims, value) in parts.items()]
    return torch.cat([value.detach().reshape(-1) for _, value in parts.values()]), layout


def _kls(terms: Terms) -> Arrays:
    """Batch means of each code's KL: of each latent, or past ``FEW`` numbers of each feature map, or as a whole."""
    first, codes = terms.distortion.dim(), terms.codes
    names = kl_names(codes)
    means = {names[name]: (dims, rate.flatten(0, first - 1).mean(0)) for name, (dims, rate) in codes.items()}
    for kept in (1, 0):
        if sum(rate.numel() for _, rate in means.values()) <= FEW:
            break
        for name, (dims, rate) in means.items():
            means[name] = dims[:kept], sum_rightmost(rate, max(rate.dim() - kept, 0))
    return means


def _in_nats(name: str) -> bool:
    return name in NATS or (name.startswith("kl_") and name != "kl_weight")


@dataclass
class History:
    """Epoch means in nats per image or row, with the learning rate and the speed; grows by one row an epoch."""

    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[str, list[Any]] = field(default_factory=dict)
    units: str = "nats per image"
    execution: str = "none"  # how the last steps ran: eager, captured or compiled

    def append(self, means: torch.Tensor, layout: Layout, **scalars: float) -> None:
        sizes = [int(np.prod(shape)) for *_, shape in layout]
        for (name, dims, shape), part in zip(layout, means.double().cpu().split(sizes), strict=True):
            self.dims[name] = dims
            self.rows.setdefault(name, []).append(part.reshape(shape).tolist())
        scalars["elbo"] = -self.rows["distortion"][-1] - self.rows["rate"][-1]
        for name, value in scalars.items():
            self.dims[name] = ()
            earlier = [math.nan] * (len(self) - 1)  # epochs of a version that did not measure it
            self.rows.setdefault(name, earlier).append(value)

    def __len__(self) -> int:
        return len(self.rows.get("loss", []))

    def last(self) -> dict[str, float]:
        """The last epoch's scalars."""
        return {name: rows[-1] for name, rows in self.rows.items() if not self.dims[name]}

    def is_best(self, name: str) -> bool:
        """Whether the last epoch's ``name`` is the lowest so far."""
        rows = [value for value in self.rows[name] if not math.isnan(value)]
        return bool(rows) and rows[-1] == min(rows)

    def state(self) -> dict[str, Any]:
        """Lists and strings alone, for a checkpoint."""
        return {name: {"dims": list(self.dims[name]), "rows": rows} for name, rows in self.rows.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any], units: str = "nats per image") -> Self:
        dims = {name: tuple(entry["dims"]) for name, entry in state.items()}
        return cls(dims, {name: list(entry["rows"]) for name, entry in state.items()}, units)

    def to_xarray(self) -> xr.Dataset:
        """Dataset with dim ``epoch`` (1, 2, …) and the programs' own dims."""
        variables = {
            name: (
                ("epoch", *self.dims[name]),
                np.asarray(rows),
                {"units": self.units} if _in_nats(name) else {},
            )
            for name, rows in self.rows.items()
        }
        return xr.Dataset(variables, {"epoch": np.arange(1, len(self) + 1)}, {"execution": self.execution})

    def write_csv(self, path: Path) -> None:
        """One row an epoch, scalars alone; replaced atomically."""
        scalars = [name for name in self.rows if not self.dims[name]]
        rows = zip(range(1, len(self) + 1), *(self.rows[name] for name in scalars), strict=True)

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(["epoch", *scalars])
                table.writerows([("" if value != value else value) for value in row] for row in rows)

        replace_atomically(path, write)
