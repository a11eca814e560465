"""The factor grid of dSprites, sampled as the published protocols do, and codes made from the factors themselves."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

LEVELS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
SIZES = np.array(list(LEVELS.values()))


def named(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("image", "latent"))


def draw(images: int, seed: int) -> SimpleNamespace:
    """Images drawn from the grid: factors, and codes by the name of a row of the reference table."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, SIZES, (images, len(SIZES)))
    perfect = (levels - (SIZES - 1) / 2) / np.sqrt((SIZES**2 - 1) / 12)
    noise = rng.normal(size=perfect.shape)
    x, y = perfect[:, 3:4], perfect[:, 4:5]
    return SimpleNamespace(
        factors=xr.Dataset({name: ("image", column) for name, column in zip(LEVELS, levels.T, strict=True)}),
        levels=levels,
        perfect=named(perfect),
        collapsed=named(np.concatenate([perfect, 0.01 * noise], 1)),
        constant=named(np.concatenate([perfect, 0 * noise], 1)),
        missing=named(np.concatenate([noise[:, :1], perfect[:, 1:]], 1)),
        diagonal=named(np.concatenate([perfect[:, :3], x + y, x - y], 1)),
        noise=named(noise),
    )


@pytest.fixture(scope="session")
def grid() -> SimpleNamespace:
    """10 000 images, as many as the protocols take."""
    return draw(10_000, seed=0)


@pytest.fixture(scope="session")
def drawn() -> Callable[[int, int], SimpleNamespace]:
    """:func:`draw`, for other sizes and seeds."""
    return draw
