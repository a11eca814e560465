"""Where the latents that made an image rank among the guide's draws for it: simulation-based calibration."""

from collections.abc import Callable

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import poutine

from ppvae.checks import check_data, check_sites, folded
from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, check_whole
from ppvae.pair.program import Data
from ppvae.pair.sites import event_dims, latent_sites, recorded_sites, sample_sites
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["rank_simulations", "simulate", "template_of"]


def rank_simulations(
    model: Callable,
    guide: Callable,
    images: Data | ImageDataset,
    simulations: int = 500,
    num_samples: int = 100,
    *,
    batch_size: int = 4096,
    seed: int = 0,
) -> xr.Dataset:
    """Draw z* ~ p(z), x ~ p(x | z*) from the model and rank each entry of z* among draws of the guide's q(z | x).

    p = (#{z_s < z*} + v (#{z_s = z*} + 1)) / (S + 1) with v uniform on (0, 1), which breaks ties. Where the guide is
    the model's posterior, z* is one more of its draws and p is uniform on (0, 1) for each entry, for any S; the entries
    of one simulation depend on each other. A guide equal to the prior is uniform too, whatever the posterior: ranks
    cannot tell a collapsed guide from an exact one.

    Shapes: images (image, C, H, W), as the pair takes them, of which only shape and gaps count, or a tuple of them
    and what else it takes of each, under which images are simulated in turn. Returns each latent
    site that both programs draw, (simulation, *event dims), in (0, 1). ``batch_size``: simulations × draws at a time,
    the bound on memory. Modules, random state and parameter store stay as they were; one seed (and batch size) gives
    one result. Read it with :func:`~ppvae.diagnostics.calibration_tests`.

    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, arguments out of range, or a model
    that does not observe the images as they are at one site.
    Sources: Talts et al. 2018, "Validating Bayesian inference algorithms with simulation-based calibration",
    Algorithm 1; Yao et al. 2018, "Yes, but did it work?", Sec. 3.
    """
    inputs = check_data(images, model, guide, seed=seed)
    for name, value in (("simulations", simulations), ("num_samples", num_samples), ("batch_size", batch_size)):
        check_whole(name, value, 1)
    device = device_of(model, guide)
    step = max(1, batch_size // num_samples)
    with evaluating(model, guide, device=device, seed=seed), pyro.validation_enabled(False):
        check_sites(model, guide, tuple(values[:1].to(device) for values in inputs))
        starts = range(0, simulations, step)
        templates = [template_of(inputs, start, min(step, simulations - start), device) for start in starts]
        parts = [_ranks(model, guide, template, num_samples) for template in templates]
    name = "rank of the simulated latent among draws of q(z|x), from 0 to 1"
    variables = {
        site: (
            ("simulation", *dims),
            np.concatenate([part[site][1] for part in parts]),
            {"long_name": name, "units": "1"},
        )
        for site, (dims, _) in parts[0].items()
    }
    dataset = xr.Dataset(variables, attrs={"num_samples": num_samples, "seed": seed})
    return dataset.assign_coords({dim: np.arange(size) for dim, size in dataset.sizes.items()})


def template_of(
    inputs: tuple[torch.Tensor, ...], start: int, size: int, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """So many images' worth of inputs, in turn from ``start`` on: of images count shape and gaps alone."""
    turn = torch.arange(start, start + size) % len(inputs[0])
    return tuple(values[turn.to(values.device)].to(device) for values in inputs)


def simulate(model: Callable, template: tuple[torch.Tensor, ...]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Draws of the model's latent sites, and of the images that they make: (simulation, ...).

    ``template`` gives their number, the shape of an image and the other inputs; what is missing of its images is
    missing of those drawn, too. Runs the model as it is, on the
    caller's random stream.
    Errors: :class:`~ppvae.errors.UserError` for a model that does not observe the images as they are at one site.
    """
    like = template[0]
    with folded(f"the model does not draw {len(like)} images"):  # a plate of fewer does not
        trace = poutine.trace(poutine.uncondition(model)).get_trace(*template)
    observed = [s for s in sample_sites(trace) if s["infer"].get("was_observed") and s not in recorded_sites(trace)]
    if len(observed) != 1 or observed[0]["value"].shape != like.shape:
        found = ", ".join(f"{s['name']!r} of shape {tuple(s['value'].shape[1:])}" for s in observed) or "no site"
        raise UserError(
            f"the model observes {found}; simulating an image for the guide needs one site of shape "
            f"{tuple(like.shape[1:])}, the image itself"
        )
    latents = [s for s in latent_sites(trace) if not s["infer"].get("was_observed")]
    images = observed[0]["value"]
    return {s["name"]: s["value"] for s in latents}, images.masked_fill(like.isnan(), torch.nan)


def _ranks(
    model: Callable, guide: Callable, template: tuple[torch.Tensor, ...], draws: int
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Of one simulation for each of the template's, the dims and ranks of each site that both programs draw."""
    latents, images = simulate(model, template)
    with pyro.plate("draws", draws, dim=-2):
        trace = poutine.trace(guide).get_trace(images, *template[1:])
    ranks = {}
    for site in latent_sites(trace):
        if site["name"] in latents:
            truth = latents[site["name"]]
            below, equal = (site["value"] < truth).sum(0), (site["value"] == truth).sum(0)
            jitter = torch.rand(truth.shape, dtype=torch.float64, device=truth.device)
            rank = (below + jitter * (equal + 1)) / (draws + 1)
            ranks[site["name"]] = (event_dims(site), rank.cpu().numpy())
    return ranks
