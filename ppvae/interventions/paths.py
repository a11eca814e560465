"""From one image to another: their codes moved along a path, and what the model draws on the way."""

from collections.abc import Callable, Collection
from typing import Literal, get_args

import torch
import xarray as xr

from ppvae.diagnostics.contents import codes_of
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.interventions.decoding import decoded, dependent, joined, labelled, picture
from ppvae.interventions.held import data_of, held, images_of

__all__ = ["interpolate"]

Path = Literal["straight", "spherical"]


def interpolate(
    model: Callable,
    tree: xr.DataTree,
    images: tuple[int, int] = (0, 1),
    *,
    steps: int = 9,
    sites: Collection[str] | None = None,
    path: Path = "straight",
    draw: int | None = None,
) -> xr.DataArray:
    """One image turned into another: the codes of two images of the tree, and those between, decoded.

    ``sites``: the codes that move, by default all. Those that do not stay at the first image's posterior, but what
    depends on a moved one, as z_2 does on z_1: it takes its mean under the model given what stands above it, and the
    attribute ``dependent`` names it. Ends are posterior means, or one ``draw`` of the tree's. ``path``: ``straight``,
    (1 − t) a + t b, or ``spherical``, along the great arc of each site's code as one vector, whose length moves evenly.
    What else is given with the images is the first one's.

    Returns (step, channel, row, column), what stands for p(x | z), with t as coordinate ``step``; attributes
    ``images``, ``sites``, ``path``. The ends are the images' reconstructions where all codes move.
    Errors: :class:`~ppvae.errors.UserError` for images or sites that the tree has not, or fewer than two steps.
    Source: White 2016, "Sampling generative networks", for the spherical path.
    """
    check_whole("steps", steps, 2)
    check_choice("path", path, get_args(Path))
    codes, data, values = codes_of(tree), data_of(tree), held(tree, draw)
    moving = codes if sites is None else [sites] if isinstance(sites, str) else list(sites)
    for site in moving:
        check_choice("sites", site, codes)
    first, second = _pair(images, len(data[0]))
    name, shares = str(images_of(tree).name), torch.linspace(0, 1, steps)
    others = values.keys() - set(moving)  # where all move, as of thirty groups, there is nothing to try
    below = {latent for site in moving if others for latent in dependent(model, name, site, values, *data)} & others
    still = {site: value[first].expand(steps, *value.shape[1:]) for site, value in values.items() if site not in below}
    moved = {site: PATHS[path](values[site][first], values[site][second], shares) for site in moving}
    same = (tensor[first].expand(steps, *tensor.shape[1:]) for tensor in data)
    drawn = joined(decoded(model, picture, name, {**still, **moved}, *same))
    attributes = {"images": [first, second], "sites": moving, "path": path, "dependent": sorted(below)}
    return labelled(drawn, ("step",), {"step": shares.numpy()}, **attributes)


def _pair(images: tuple[int, int], count: int) -> tuple[int, int]:
    for image in images:
        check_whole("images", image, 0)
        if image >= count:
            raise UserError(f"images={tuple(images)}: the tree has {count}, numbered from 0; give two of them")
    if len(images) != 2:
        raise UserError(f"images={tuple(images)}: expected two, where the path begins and where it ends")
    return images[0], images[1]


def straight(a: torch.Tensor, b: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """(1 − t) a + t b: a and b of one shape, shares (step,) → (step, *shape)."""
    t = shares.reshape(-1, *[1] * a.dim()).to(a.dtype)
    return (1 - t) * a + t * b


def spherical(a: torch.Tensor, b: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Along the great arc between the directions of a and b, the length as on the straight path; shapes as there."""
    start, end = a.double().flatten(), b.double().flatten()
    lengths = start.norm(), end.norm()
    if not min(lengths):
        return straight(a, b, shares)
    start, end = start / lengths[0], end / lengths[1]
    angle = 2 * torch.atan2((start - end).norm(), (start + end).norm())  # exact near 0 and near π, as acos is not
    if angle.sin() < 1e-6:  # one direction, or two opposite ones, between which there is no one arc
        return straight(a, b, shares)
    t = shares.double()[:, None]
    arc = (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / angle.sin()
    return (arc * ((1 - t) * lengths[0] + t * lengths[1])).to(a.dtype).reshape(-1, *a.shape)


PATHS = {"straight": straight, "spherical": spherical}
