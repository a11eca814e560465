"""Too many latents in, as many as the data ask for out."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from torch import nn

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError
from ppvae.objectives import Objective
from ppvae.pair.program import Data
from ppvae.selection.first import first_images
from ppvae.selection.keeping import keep_latents
from ppvae.selection.latent_path import level_file, path
from ppvae.selection.plateaus import chosen_plateau, say_plateau
from ppvae.svi import load_pair

__all__ = ["Selection", "pair_of_level", "select"]


class Selection(NamedTuple):
    """A pair with the latents of the widest plateau alone, and what led to it.

    ``kept``: their numbers in the pair that was given; ``weight``: of the rate, where the smaller pair stands.
    """

    model: nn.Module
    guide: nn.Module
    kept: list[int]
    weight: float
    path: xr.Dataset
    plateau: xr.Dataset


def select(
    model: nn.Module,
    guide: nn.Module,
    data: ImageDataset | Data,
    objective: Objective | None = None,
    *,
    directory: Path | str | None = None,
    **options: Any,
) -> Selection:
    """Follow the :func:`~ppvae.path` of a pair with too many latents, keep those of its widest plateau, cut the others.

    The smaller pair is that of the plateau's last weight, where its error is least, and goes on from there, as by
    ``fit(selection.model, selection.guide, data, BetaELBO(beta=selection.weight))``. The pair that was given ends where
    the path does. ``options``: those of the path. Without a ``directory`` its levels are kept while it runs alone.

    Errors: :class:`~ppvae.errors.UserError` where no number of latents holds, for a pair that cannot be cut
    (:func:`~ppvae.selection.keep_latents`), and as the path has them.
    """
    with tempfile.TemporaryDirectory() if directory is None else nullcontext(directory) as where:
        found = path(model, guide, data, objective, directory=Path(where), **options)
        plateau = chosen_plateau(found)
        if plateau is None:
            raise UserError(f"{say_plateau(found)}; look at ppvae.path, and take keep_latents with latents of your own")
        smaller, encoder, kept = pair_of_level(model, guide, data, found, plateau, where)
    weight = float(found["weight"][int(plateau["last"])])
    return Selection(smaller, encoder, kept, weight, found, plateau)


def pair_of_level(
    model: nn.Module, guide: nn.Module, data: ImageDataset | Data, found: xr.Dataset, plateau: xr.Dataset, where: Any
) -> tuple[nn.Module, nn.Module, list[int]]:
    """The pair at a plateau's last level, kept in a path's folder, cut to the latents that are in, and their numbers.

    ``model`` and ``guide`` are left as they are.
    """
    level, rule = int(plateau["last"]), plateau.attrs["rule"]
    before = [{name: values.clone() for name, values in part.state_dict().items()} for part in (model, guide)]
    kept = [int(latent) for latent in found["latent"].values[found[rule].values[level]]]
    load_pair(level_file(where, level, ".pt"), model, guide)
    try:
        smaller, encoder = keep_latents(model, guide, kept, first_images(data))
    finally:
        for part, states in zip((model, guide), before, strict=True):
            part.load_state_dict(states)
    return smaller, encoder, kept
