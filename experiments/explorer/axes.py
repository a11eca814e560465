"""What sliders move: the latents of a code or, of feature maps, the directions in which an image's maps vary most."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import xarray as xr
from sklearn.decomposition import PCA
from torch import Tensor

from ppvae.diagnostics.contents import event_dims_of, group_of, kl_of
from ppvae.errors import UserError

__all__ = ["Axes", "axes_of", "plane"]

DIRECTIONS = 8  # of a group of feature maps
EXACT = 2**18  # numbers whose directions are all found, of which the first are kept
SHARES = (0.01, 0.99)  # of the codes, between which a traversal runs

type Moves = Mapping[int, float | Tensor]
"""By an axis's number the value it is moved to, or the values (row,)."""


@dataclass(frozen=True, eq=False)
class Axes:
    """What one site's sliders move.

    ``kind``: ``latents`` of a vector, which take the values themselves; or ``directions`` of feature maps, the
    principal ones of the codes, of which an image has so much each: moved to v, its maps change by (v − score) times
    the direction, and what the directions do not span stays. Shapes: ``codes`` (image, *event dims), ``scores`` (image,
    axis), ``numbers`` (axis,) as the tree counts latents; ``order``: the axes, largest KL first (nats, where there is
    one), directions by their variance; ``directions`` (axis, entry), None of latents.
    """

    site: str
    kind: Literal["latents", "directions"]
    codes: Tensor
    scores: np.ndarray
    numbers: tuple[int, ...]
    order: tuple[int, ...]
    kl: np.ndarray | None = None
    directions: Tensor | None = None

    def index(self, number: int) -> int:
        """Which axis has this number; UserError lists those there are."""
        if number not in self.numbers:
            known = f"{len(self.numbers)}, {self.numbers[0]} to {self.numbers[-1]}"
            raise UserError(f"{self.site} has no {self.kind[:-1]} {number!r}: give one of its {known}")
        return self.numbers.index(number)

    def moved(self, image: int, moves: Moves) -> Tensor:
        """The image's code with these axes moved, by their numbers: (*event dims), or (row, *event dims) where one
        takes several values."""
        rows = torch.broadcast_shapes(*(torch.as_tensor(value).shape for value in moves.values()))
        own = self.codes[image]
        code = own.reshape(-1).repeat(*rows, 1)
        for number, value in moves.items():
            self._move(code, image, self.index(number), torch.as_tensor(value, dtype=code.dtype))
        return code.reshape(*rows, *own.shape)

    def _move(self, code: Tensor, image: int, axis: int, value: Tensor) -> None:
        if self.directions is None:
            code[..., axis] = value
        else:
            code += (value - float(self.scores[image, axis]))[..., None] * self.directions[axis]

    def path(self, number: int, steps: int) -> np.ndarray:
        """The values that a traversal gives the axis: from the 1 % to the 99 % quantile of the codes, (step,)."""
        low, high = np.quantile(self.scores[:, self.index(number)], SHARES)
        return np.linspace(low, high, steps)

    def reach(self, number: int) -> tuple[float, float]:
        """Where its slider ends: at the outermost codes, and not nearer than one to each other, so that a latent that
        is not used can be moved as well."""
        scores = self.scores[:, self.index(number)]
        low, high = float(scores.min()), float(scores.max())
        missing = max(0.0, 1 - (high - low)) / 2
        return low - missing, high + missing


def axes_of(tree: xr.DataTree, site: str, codes: Tensor) -> Axes:
    """Of a site's mean codes (image, *event dims), of all of the tree's images."""
    if codes.dim() > 2:
        return _directions(site, codes)
    scores, kls = codes.reshape(len(codes), -1).numpy(), kl_of(tree, site)
    own = event_dims_of(tree, site)
    numbers = group_of(tree, "sample_stats")[own[0]].values.tolist() if own else [0]
    kl = None if kls is None or len(kls) != len(numbers) else kls.values
    order = np.argsort(-(scores.var(0) if kl is None else kl), kind="stable").tolist()
    return Axes(site, "latents", codes, scores, tuple(map(_whole, numbers, range(len(numbers)))), tuple(order), kl)


def _directions(site: str, codes: Tensor) -> Axes:
    flat = codes.flatten(1).numpy().astype(np.float64)
    count = min(DIRECTIONS, *flat.shape)
    fitted = PCA(count, svd_solver="full" if flat.size <= EXACT else "randomized", random_state=0).fit(flat)
    numbers = tuple(range(count))
    directions = torch.from_numpy(fitted.components_).to(codes.dtype)
    return Axes(site, "directions", codes, fitted.transform(flat), numbers, numbers, directions=directions)


def _whole(number: object, place: int) -> int:
    """A latent's own number; its place where latents have names."""
    return number if isinstance(number, int) else place


def plane(axes: Axes) -> np.ndarray:
    """The two principal components of the codes, (image, 2): where a map of all latents shows the images."""
    scores = axes.scores[:, :2] if axes.directions is not None else axes.scores
    if scores.shape[1] < 2:
        return np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))
    if scores.shape[1] == 2 or len(scores) < 2:
        return scores[:, :2]
    return PCA(2, svd_solver="full", random_state=0).fit_transform(scores.astype(np.float64))
