"""Everything the diagnostics of a pair read, in one tree."""

from collections.abc import Callable, Sequence

import numpy as np
import pyro
import torch
import xarray as xr

from ppvae.checks import check_data
from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, check_whole
from ppvae.examination.information import information_split
from ppvae.examination.ranks import rank_simulations, simulate, template_of
from ppvae.examination.surgery import elbo_surgery
from ppvae.pair.program import Data
from ppvae.pair.untouched import device_of, evaluating
from ppvae.posterior import from_pyro_svi

__all__ = ["examine"]

CHUNK = 256  # images drawn at a time


def examine(
    model: Callable,
    guide: Callable,
    images: Data | ImageDataset,
    *,
    num_samples: int = 100,
    simulations: int = 500,
    aggregate_images: int = 1000,
    decoded_images: int = 200,
    sites: Sequence[str] | None = None,
    batch_size: int = 1024,
    seed: int = 0,
) -> xr.DataTree:
    """The pair's posterior with all that :func:`~ppvae.diagnostics.diagnose` reads: ``diagnose(examine(...))``.

    :func:`~ppvae.from_pyro_svi` with its posterior predictive, and the groups ``calibration``
    (:func:`~ppvae.rank_simulations`, as many draws each), ``prior_predictive`` (as many images drawn from the model as
    there are ``simulations``), ``aggregate`` (:func:`~ppvae.elbo_surgery` on the first ``aggregate_images``, whose
    pairs it scores) and ``information`` (:func:`~ppvae.information_split` on the same images, of which it decodes the
    first ``decoded_images``; 0: no such group). A group that the pair cannot have is left out, its reason in the
    attribute ``without_<group>``.

    Shapes: images (image, C, H, W), as the pair takes them, or a tuple of them and what else it takes of each; the
    tree holds images × num_samples redrawn images, and as many draws of each latent site, or of ``sites`` alone, where
    they are named: of all others mean and variance. ``batch_size``: images × draws decoded at a time. Modules, random
    state and parameter store stay as they were; one ``seed`` (and batch size) gives one result.

    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, or arguments out of range.
    """
    check_whole("simulations", simulations, 20)
    check_whole("aggregate_images", aggregate_images, 2)
    check_whole("decoded_images", decoded_images, 0)
    inputs = check_data(images, model, guide, seed=seed)
    few = tuple(values[:aggregate_images] for values in inputs)
    options = {"num_samples": num_samples, "batch_size": batch_size}
    kept = {"sites": sites, "moments": sites is not None, "posterior_predictive": True}
    tree = from_pyro_svi(model, guide, images, seed=seed, **kept, **options)
    parts: dict[str, Callable[[], xr.Dataset]] = {  # seeds of their own: equal ones would tie the groups' draws
        "calibration": lambda: rank_simulations(model, guide, inputs, simulations, seed=seed + 1, **options),
        "aggregate": lambda: elbo_surgery(model, guide, few, seed=seed + 2),
        "information": lambda: information_split(
            model, guide, few, decoded=max(2, decoded_images), batch_size=batch_size, seed=seed + 4
        ),
        "prior_predictive": lambda: _drawn(model, inputs, simulations, tree["observed_data"].to_dataset(), seed + 3),
    }
    if not decoded_images:
        del parts["information"]
        tree.attrs["without_information"] = "decoded_images=0"
    for name, make in parts.items():
        try:
            tree[name] = xr.DataTree(make())
        except UserError as error:
            tree.attrs[f"without_{name}"] = str(error)
    return tree


def _drawn(model: Callable, inputs: tuple[torch.Tensor, ...], size: int, observed: xr.Dataset, seed: int) -> xr.Dataset:
    """So many images from the model, (chain, draw, *pixel dims), under the name of the site that observes them."""
    device = device_of(model)
    with evaluating(model, device=device, seed=seed), pyro.validation_enabled(False):
        templates = [template_of(inputs, start, min(CHUNK, size - start), device) for start in range(0, size, CHUNK)]
        drawn = torch.cat([simulate(model, template)[1].cpu() for template in templates])
    ((name, like),) = observed.data_vars.items()
    dims = ("chain", "draw", *(dim for dim in like.dims if dim != "image"))
    dataset = xr.Dataset({name: (dims, drawn.numpy()[None])}, attrs={"seed": seed})
    return dataset.assign_coords({dim: np.arange(count) for dim, count in dataset.sizes.items()})
