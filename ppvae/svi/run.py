"""What is trained, on what and how; and what must be the same for it to be continued."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from ppvae.datasets import ImageDataset
from ppvae.datasets.conversion import Conversion
from ppvae.datasets.images import StoredImages
from ppvae.datasets.table_rows import Rows
from ppvae.errors import UserError
from ppvae.nouns import noun_of
from ppvae.objectives import Objective
from ppvae.pair.program import Data
from ppvae.pair.settings import settings_of
from ppvae.pair.untouched import unit_of
from ppvae.svi.execution import Wish
from ppvae.svi.recipe import Recipe

__all__ = ["Run", "Settings", "check_same"]

WHOLE = 2**28  # bytes of pixels in memory that are all part of the checksum; of others some images are
SOME = 64


@dataclass(frozen=True)
class Settings:
    """How to train; the arguments of :func:`ppvae.fit` of the same names."""

    epochs: int
    batch_size: int
    recipe: Recipe
    seed: int
    execution: Wish
    progress: bool
    save_steps: int | None
    save_minutes: float | None
    after_epoch: Callable[[xr.Dataset], None] | None = None


@dataclass(frozen=True)
class Run:
    """What to train, on what, how, and where to keep it."""

    model: nn.Module
    guide: nn.Module
    objective: Objective
    pixels: Any  # (image, C, H, W): a tensor, or images drawn on demand
    given: tuple[torch.Tensor, ...]  # what the programs take beside them, (image, ...) each
    conversion: Conversion  # of stored pixels to what the likelihood takes
    validation: ImageDataset | Data | None
    settings: Settings
    directory: Path | None
    resume: bool

    @property
    def units(self) -> str:
        """Of what is summed over an image, or over a row of a table."""
        return f"{unit_of(self.model)} per {noun_of(self.pixels).one}"

    @property
    def checkpoint(self) -> Path:
        return self.directory / "checkpoint.pt"

    @property
    def best(self) -> Path:
        return self.directory / "best.pt"

    def fingerprint(self) -> dict[str, Any]:
        """What must not change between a run and its continuation."""
        settings, objective = self.settings, self.objective
        data = {"images": len(self.pixels), **({"inputs": len(self.given)} if self.given else {})}
        return {
            "seed": settings.seed,
            "batch_size": settings.batch_size,
            "learning_rate": settings.recipe.learning_rate,
            **{f"recipe.{name}": value for name, value in settings.recipe.described().items()},
            **data,
            **vars(self.conversion),
            "validation": 0 if self.validation is None else _count(self.validation),
            "objective": type(objective).__name__,
            **{f"objective.{name}": _plain(value) for name, value in vars(objective).items()},
            "data": _checksum(self.pixels, self.given),
            **_settings("model", self.model),
            **_settings("guide", self.guide),
        }


def check_same(path: Path, then: dict[str, Any], now: dict[str, Any], *, earlier_format: bool) -> None:
    """UserError that names what a run was made with and is not continued with.

    The learning rate may be lower than it was. A checkpoint of an earlier format says less: what it does not say is not
    compared. A word of the recipe that a checkpoint does not know stood at its default.
    """
    usual = {f"recipe.{name}": value for name, value in Recipe().described().items()}
    names = now.keys() & then.keys() if earlier_format else now.keys() | then.keys()
    for name in sorted(names, key=lambda one: (one == "data", one)):  # what the data are is told before what they hold
        before, after = then.get(name, usual.get(name)), now.get(name)
        if before == after or (name == "learning_rate" and isinstance(before, float) and after <= before):
            continue
        if name == "data":
            raise UserError(f"checkpoint {path} was trained on other images; give the same to resume")
        raise UserError(
            f"checkpoint {path} was trained with {name}={before}, now it is {after}; give the same to resume"
        )


def _settings(role: str, program: nn.Module) -> dict[str, str]:
    return {f"{role}.{name}" if name else role: text for name, text in settings_of(program).items()}


def _count(data: ImageDataset | Data) -> int:
    return len(data[0]) if isinstance(data, tuple) else len(data)


def _checksum(pixels: Any, given: tuple[torch.Tensor, ...]) -> str:
    """CRC-32 of the pixels and what comes with them; of some images where they are many or drawn on demand."""
    held = pixels.pixels if isinstance(pixels, StoredImages | Rows) else pixels
    whole = isinstance(held, torch.Tensor) and held.nbytes <= WHOLE
    index = slice(None) if whole else torch.linspace(0, len(pixels) - 1, min(SOME, len(pixels))).long()
    shown = held[index] if isinstance(held, torch.Tensor) else held.stored(index)
    sum_of_all = 0
    for values in (shown, *(one[index] for one in given)):
        sum_of_all = zlib.crc32(values.cpu().contiguous().view(-1).view(torch.uint8).numpy(), sum_of_all)
    return f"{sum_of_all:08x}"


def _plain(value: Any) -> str:
    """A setting as a string that is the same in every process: a function by its name, not its address."""
    return getattr(value, "__qualname__", None) or repr(value)
