"""The numbers a metric runs with: chosen by name, written beside every score."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import xarray as xr

from ppvae.errors import UserError

__all__ = ["LOGISTIC", "SPLIT_PRESETS", "SplitPreset", "chosen", "scored", "written"]


@dataclass(frozen=True)
class SplitPreset:
    """How many images, at most, train a metric's classifiers and how many evaluate them."""

    train: int
    evaluate: int


SPLIT_PRESETS: Mapping[str, SplitPreset] = MappingProxyType(
    {
        "locatello": SplitPreset(train=10_000, evaluate=5_000),
        "quick": SplitPreset(train=1_000, evaluate=1_000),
    }
)

# Locatello's classifier is scikit-learn's default: multinomial, L2 (its default penalty), C = 1. The objective is
# strictly convex in the weights; Newton's method finds its minimum where L-BFGS stops early on codes of unlike scales.
LOGISTIC: Mapping[str, Any] = MappingProxyType(
    {"C": 1.0, "fit_intercept": True, "class_weight": None, "solver": "newton-cg", "tol": 1e-4, "max_iter": 1_000}
)


def chosen[P](name: str, presets: Mapping[str, P]) -> P:
    """The preset of that name; UserError lists the names there are."""
    if name not in presets:
        raise UserError(f"preset={name!r} is unknown; choose one of {', '.join(presets)}")
    return presets[name]


def written(name: str, settings: Mapping[str, Any], *further: str) -> str:
    """A classifier and all its settings in one line."""
    return f"{name}({', '.join([*further, *(f'{key}={value}' for key, value in settings.items())])})"


def scored(score: float, long_name: str, preset: str, numbers: Any, **further: Any) -> xr.DataArray:
    """A score that says what it is, its preset with every number of it, and what else there is to say."""
    attrs = {"long_name": long_name, "units": "1", "preset": preset, **asdict(numbers), **further}
    return xr.DataArray(float(score), attrs=attrs)
