"""What the nearest codes tell about an image."""

import numpy as np
import xarray as xr
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from ppvae.errors import UserError, check_whole

__all__ = ["knn_accuracy", "knn_explained"]

FOLDS = 5


def knn_accuracy(codes: xr.DataArray, labels: xr.DataArray, *, neighbours: int = 10, seed: int = 0) -> xr.DataArray:
    """Share of images whose label is that of most of the nearest codes, those of other folds (five, shuffled).

    codes (image, latent), on their own scale, so that a collapsed latent hardly counts; labels (image), integers.
    Returns a scalar in [0, 1]; the attribute ``chance`` is the share of the commonest label.
    Errors: :class:`~ppvae.errors.UserError` for codes and labels of different images or another kind, and for fewer
    than five images or twice the neighbours.
    """
    values, wanted = _matched(codes, labels, neighbours)
    found = cross_val_predict(KNeighborsClassifier(neighbours), values, wanted, cv=_folds(seed))
    chance = float(np.unique(wanted, return_counts=True)[1].max() / len(wanted))
    attrs = {"long_name": f"{neighbours}-nearest-neighbour accuracy", "units": "1", "chance": chance}
    return xr.DataArray(float((found == wanted).mean()), name="knn_accuracy", attrs=attrs)


def knn_explained(codes: xr.DataArray, factor: xr.DataArray, *, neighbours: int = 10, seed: int = 0) -> xr.DataArray:
    """Share of a factor's variance that the nearest codes, those of other folds, explain: R², at most 1.

    codes (image, latent), on their own scale; factor (image), the floats of a continuous factor, or the index of a
    level, its attribute ``values`` naming the levels: numbers count as such, a whole turn of hue as its point on the
    circle, names as one indicator each.
    Returns a scalar, near −1/neighbours where the codes know nothing.
    Errors: :class:`~ppvae.errors.UserError` as ``knn_accuracy`` does, and for a factor with one level.
    """
    values, index = _matched(codes, factor, neighbours, kinds="iuf")
    if (index == index[0]).all():
        raise UserError(f"factor {factor.name!r} has one level in these images; expected two or more: leave it out")
    target = index[:, None] if index.dtype.kind == "f" else _coordinates(factor)[index]
    found = cross_val_predict(KNeighborsRegressor(neighbours), values, target, cv=_folds(seed))
    explained = 1 - ((found - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
    attrs = {"long_name": f"R² of {factor.name} from the {neighbours} nearest codes", "units": "1"}
    return xr.DataArray(float(explained), name="knn_explained", attrs=attrs)


def _folds(seed: int) -> KFold:
    return KFold(FOLDS, shuffle=True, random_state=seed % 2**32)


def _matched(
    codes: xr.DataArray, labels: xr.DataArray, neighbours: int, kinds: str = "iu"
) -> tuple[np.ndarray, np.ndarray]:
    check_whole("neighbours", neighbours, 1)
    if set(codes.dims) != {"image", "latent"} or labels.dims != ("image",):
        raise UserError(f"codes have dims {codes.dims}, labels {labels.dims}; expected (image, latent) and (image)")
    if codes.sizes["image"] != labels.sizes["image"]:
        raise UserError(f"there are {codes.sizes['image']} codes and {labels.sizes['image']} labels; expected as many")
    if labels.dtype.kind not in kinds:
        raise UserError(f"labels are {labels.dtype}; expected integers, the index of a level")
    least = max(FOLDS, 2 * neighbours)
    if codes.sizes["image"] < least:
        raise UserError(f"{codes.sizes['image']} images are too few for {neighbours} neighbours; give {least} or more")
    if not bool(np.isfinite(codes).all() and np.isfinite(labels).all()):
        raise UserError("codes or factor hold values that are not finite; expected numbers: look for a diverged run")
    return codes.transpose("image", "latent").values.astype(np.float64), labels.values


def _coordinates(factor: xr.DataArray) -> np.ndarray:
    """A point for each level, (level, dims)."""
    values = factor.attrs.get("values", range(int(factor.max()) + 1))
    if any(isinstance(value, str) for value in values):
        return np.eye(len(values))
    points = np.asarray(values, dtype=np.float64)[:, None]
    if factor.attrs.get("units") == "turn" and np.isclose(np.ptp(points) * len(points) / (len(points) - 1), 1):
        return np.concatenate([np.cos(2 * np.pi * points), np.sin(2 * np.pi * points)], 1)
    return points
