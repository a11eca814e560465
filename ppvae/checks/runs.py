"""Runs of both programs that tell what does not fit, also what Pyro itself refuses."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from pyro import poutine, validation_enabled
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match, check_site_shape

from ppvae.checks.sites import (
    check_batch,
    check_dims,
    check_masks,
    check_observations,
    check_same_sites,
    check_whole_plates,
)
from ppvae.errors import UserError, one_line
from ppvae.pair.finite import check_finite, check_finite_run
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.sites import Site, latent_sites, local, observed_sites

__all__ = ["check_by_image", "check_sites", "check_validated", "folded", "shared_sites"]


def check_sites(model: Callable, guide: Callable, data: Data) -> tuple[dict[str, Site], dict[str, Site], poutine.Trace]:
    """Run both programs; UserError for a latent site that only one has, or one that is not drawn image by image.

    Returns the guide's and the model's latent sites by name, and the model's trace.
    """
    inputs = inputs_of(data)
    drawn, wanted, model_trace = shared_sites(model, guide, inputs)
    for name in wanted:
        check_masks(drawn[name], wanted[name])
    check_observations(model_trace)
    for program, sites in (("guide", drawn.values()), ("model", [*wanted.values(), *observed_sites(model_trace)])):
        for site in sites:
            check_batch(site, program, len(inputs[0]))
    return drawn, wanted, model_trace


def shared_sites(
    model: Callable, guide: Callable, inputs: tuple[torch.Tensor, ...]
) -> tuple[dict[str, Site], dict[str, Site], poutine.Trace]:
    check_finite(model, guide)
    with validation_enabled(False), folded("the pair fails"):
        guide_trace = _run("guide", guide, inputs)
        model_trace = _run("model", model, inputs)
    check_finite_run(guide_trace, model_trace)
    check_whole_plates(guide_trace, model_trace, batches=True)
    drawn, wanted = _latents(guide_trace, model_trace)
    check_same_sites(drawn, wanted)
    check_dims([*drawn.values(), *wanted.values()])
    return drawn, wanted, model_trace


def _latents(guide_trace: poutine.Trace, model_trace: poutine.Trace) -> tuple[dict[str, Site], dict[str, Site]]:
    """The guide's and the model's latent sites by name, those left out that the guide has for itself."""
    drawn = {site["name"]: site for site in latent_sites(guide_trace) if not site["infer"].get("is_auxiliary")}
    return drawn, {site["name"]: site for site in latent_sites(model_trace)}


@contextmanager
def folded(what: str) -> Iterator[None]:
    """UserError in one line for what torch or Pyro raises inside."""
    try:
        yield
    except (IndexError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        if isinstance(error, UserError):  # to which Pyro adds the shapes of all sites
            raise UserError(one_line(error, 380)) from None
        raise UserError(f"{what}: {one_line(error)}") from error


def _run(name: str, program: Callable, inputs: tuple[torch.Tensor, ...]) -> poutine.Trace:
    """The program's trace; UserError where it, or a network in it, takes another number of inputs."""
    try:
        return poutine.trace(program).get_trace(*inputs)
    except TypeError as error:
        if "positional argument" not in str(error):
            raise
        count = "images alone" if len(inputs) == 1 else f"images and {len(inputs) - 1} more"
        raise UserError(f"the {name} was called with {count}: {error}; give what it takes, images first") from error


def check_by_image(
    guide: Callable, inputs: tuple[torch.Tensor, ...], drawn: dict[str, Site], model_trace: poutine.Trace
) -> None:
    """UserError where terms are not of each image: the model's observations, or a site that holds all images' codes."""
    images = len(inputs[0])
    for site in observed_sites(model_trace):
        check_batch(site, "model", images)
    shared = [site for site in drawn.values() if not local(site)]
    if not shared or images == 1:
        return
    of_one = poutine.trace(guide).get_trace(*(values[:1] for values in inputs))
    for site in shared:
        if of_one.nodes[site["name"]]["fn"].event_shape != site["fn"].event_shape:
            check_batch(site, "guide", images)


def check_validated(
    model: Callable, guide: Callable, inputs: tuple[torch.Tensor, ...], mode: str
) -> tuple[dict[str, Site], dict[str, Site]]:
    """UserError for what Pyro's SVI refuses under validation: what is no distribution, or not in its plates; and for a
    latent site that only one program has in this mode. Returns the guide's and the model's by name."""
    with validation_enabled(True), warnings.catch_warnings(), folded(f"Pyro refuses the pair in {mode} mode"):
        warnings.simplefilter("ignore")  # of sites that only one program has, which are told above
        guide_trace = poutine.trace(guide).get_trace(*inputs)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*inputs)
        check_model_guide_match(model_trace, guide_trace)
        for trace in map(prune_subsample_sites, (model_trace, guide_trace)):
            trace.compute_log_prob()
            for site in trace.nodes.values():
                if site["type"] == "sample":
                    check_site_shape(site, math.inf)
    found = _latents(guide_trace, model_trace)
    check_same_sites(*found)
    return found
