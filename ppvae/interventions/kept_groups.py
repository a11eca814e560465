"""The first groups of a hierarchy kept at an image's posterior, and all below drawn by the model."""

from collections.abc import Callable, Sequence

import torch
import xarray as xr

from ppvae.errors import UserError, check_not_negative, check_whole
from ppvae.interventions.decoding import Values, drawn_until, in_parts, joined, labelled, picture, sites_before
from ppvae.interventions.held import data_of, held, images_of
from ppvae.interventions.pictures import Shown

__all__ = ["keep_groups"]


def keep_groups(
    model: Callable,
    tree: xr.DataTree,
    kept: Sequence[int] | None = None,
    *,
    image: int = 0,
    draws: int = 8,
    draw: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> xr.DataArray:
    """What the first groups say of an image: it is redrawn with these kept and all the others drawn by the model.

    For each n of ``kept``, by default 0 to L, the first n latent sites in the model's order stay where the guide puts
    them, at their mean or at one ``draw`` of the tree's, and the rest are drawn from p(z_l | z_1 … z_l−1) at a
    ``temperature``. n = 0: the model's own draws (:func:`~ppvae.interventions.draw_images`); n = L: the reconstruction.
    What all draws of a row have in common is in its groups.

    Returns (kept, draw, channel, row, column), what stands for p(x | z); coordinate ``lowest``: the last site kept.
    Errors: :class:`~ppvae.errors.UserError` for numbers out of range, a tree that is not of this model's images or
    keeps too little of a site, or one without noise that could be multiplied, at another temperature than 1.
    """
    check_whole("draws", draws, 1)
    check_not_negative("temperature", temperature)
    data, values = data_of(tree), held(tree, draw)
    check_whole("image", image, 0)
    if image >= len(data[0]):
        raise UserError(f"image={image}: the tree has {len(data[0])} images, numbered from 0; give one of them")
    name, one = str(images_of(tree).name), {site: value[image : image + 1] for site, value in values.items()}
    same = tuple(tensor[image].expand(draws, *tensor.shape[1:]) for tensor in data)
    order = _order(model, name, one, *(tensor[:1] for tensor in same))
    kept = range(len(order) + 1) if kept is None else kept
    for count in kept:
        check_whole("kept", count, 0)
        if count > len(order):
            raise UserError(f"kept={count}: the model has {len(order)} latent sites; give at most these")

    def redrawn(count: int) -> Shown:
        above = {site: one[site].expand(draws, *one[site].shape[1:]) for site in order[:count]}

        def run(part: Values, *inputs: torch.Tensor) -> Shown:
            part = {site: part[site] for site in above}
            return picture(drawn_until(model, name, part, *inputs, temperature=temperature)[-1])

        return joined(in_parts(model, run, above | {name: same[0]}, *same, seed=seed))

    rows = [redrawn(count) for count in kept]
    pictures = Shown(torch.stack([row.images for row in rows]), rows[0].drawn)
    lowest = ["", *order]
    coords = {"kept": list(kept), "lowest": ("kept", [lowest[count] for count in kept])}
    return labelled(pictures, ("kept", "draw"), coords, image=image, temperature=temperature, groups=len(order))


def _order(model: Callable, name: str, values: Values, *data: torch.Tensor) -> list[str]:
    """The latent sites that stand before the images, in the model's order."""

    def run(part: Values, *inputs: torch.Tensor) -> list[str]:
        return [site["name"] for site in sites_before(model, name, part, *inputs)[:-1] if site["name"] in part]

    return in_parts(model, run, values, *data)[0]
