"""Images that the model draws: by itself, and given one code many times, so that one sees what the code keeps."""

from collections.abc import Callable, Collection
from typing import Literal, get_args

import torch
import xarray as xr
from pyro import validation_enabled

from ppvae.distributions.means import mean_of
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.interventions.decoding import Values, called_with, drawn_until, in_parts, joined, labelled, sites_before
from ppvae.interventions.held import PIXELS, data_of, held, images_of
from ppvae.interventions.pictures import Shown, shown
from ppvae.interventions.temperature import Tempered
from ppvae.pair.program import Data
from ppvae.pair.sites import Site, sample_sites
from ppvae.pair.untouched import device_of, evaluating
from ppvae.posterior.handlers import Unobserved, traced

__all__ = ["draw_images", "draws_from_prior", "draws_given_z", "sample"]

AT_ONCE = 256  # images drawn at a time

Pixels = Literal["mean", "draw"]


def draws_given_z(model: Callable, tree: xr.DataTree, draws: int = 6, *, draw: int = 0, seed: int = 0) -> xr.DataArray:
    """``draws`` images x ~ p(x | z), each of noise of its own, at one and the same z ~ q(z | image).

    That z is ``draw`` of the tree's posterior. What all draws of an image share is what z keeps of it, what differs the
    likelihood fills in; with one that is independent over pixels that is pixel noise alone. They are no reconstruction.
    Returns (image, draw, channel, row, column). Errors: :class:`~ppvae.errors.UserError` for a tree that is not of this
    model's images, or has no such draw.
    """
    check_whole("draws", draws, 1)
    observed = images_of(tree)
    values = {name: value.repeat_interleave(draws, 0) for name, value in held(tree, draw).items()}
    data = [tensor.repeat_interleave(draws, 0) for tensor in data_of(tree)]
    name = str(observed.name)

    def run(part: dict[str, torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
        return sites_before(model, name, part, *inputs)[-1]["fn"].sample().cpu()

    drawn = torch.cat(in_parts(model, run, values, *data, seed=seed))
    coords = {"image": observed["image"]}
    return _labelled(drawn.unflatten(0, (-1, draws)), ("image", "draw"), coords, "draws of p(x|z) at one z an image")


def draw_images(
    model: Callable,
    size: int = 40,
    *,
    temperature: float = 1.0,
    sites: Collection[str] | None = None,
    values: Values | None = None,
    like: Data | None = None,
    pixels: Pixels = "mean",
    seed: int = 0,
) -> xr.DataArray:
    """Images that the model draws by itself, its latents at a temperature: (draw, channel, row, column).

    ``temperature``: by which the noise of the latents is multiplied, of ``sites`` alone where they are named; 1: p(z)
    itself, 0: its locations, given the latents before (:class:`~ppvae.interventions.Tempered`). ``pixels``: what stands
    for p(x | z) (:func:`~ppvae.interventions.shown`), its mean where there is one, or a ``draw`` of it. At temperature
    1 such draws are the model's own, bit for bit: ``model(size=size)`` under one seed, for up to 256. Where the model
    takes no ``size``, or is given more than images, ``like`` is what it takes, images in front, of which only the shape
    counts; rows in turn. ``values``: of latents that are not drawn, by site, (draw, *event dims) each. Under BatchNorm,
    draw within :func:`~ppvae.interventions.reestimate`.

    Errors: :class:`~ppvae.errors.UserError` for a model without site x, a site that it lacks, or one without noise that
    could be multiplied, at another temperature than 1.
    """
    check_whole("size", size, 1)
    check_choice("pixels", pixels, get_args(Pixels))
    device, parts, values = device_of(model), [], values or {}
    for site, given in values.items():
        if len(given) != size:
            raise UserError(f"values of {site!r}: {len(given)} for {size} draws; give one for each")
    with evaluating(model, device=device, seed=seed), validation_enabled(False):
        for start in range(0, size, AT_ONCE):
            data, options = called_with(like, start, min(AT_ONCE, size - start), device)
            some = {site: given[start : start + AT_ONCE].to(device) for site, given in values.items()}
            passed = drawn_until(model, "x", some, *data, temperature=temperature, sites=sites, **options)
            for site in values:
                check_choice("values", site, [latent["name"] for latent in passed[:-1]])
            parts.append(_seen(passed[-1], pixels))
    attributes = {"temperature": temperature}
    if pixels == "draw":
        attributes["long_name"] = "draws of p(x)"
    return labelled(joined(parts), ("draw",), {}, **attributes)


def sample(
    model: Callable,
    n: int = 1,
    *,
    temperature: float = 1.0,
    sites: Collection[str] | None = None,
    values: Values | None = None,
    like: Data | None = None,
    pixels: Pixels | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """``n`` draws of any pair's model: (draw, channel, row, column).

    ``pixels``: the ``mean`` of p(x | z) of each, or a ``draw`` of it; by default its mean where there is one, else a
    draw, each of noise of its own (:func:`draw_images` lends all one noise, to show what their latents say).
    ``temperature`` of the latents, of ``sites`` alone where they are named, ``values`` of others, ``like``, what a
    model takes that is given more than images, and errors: as for :func:`draw_images`.
    """
    check_whole("n", n, 1)
    if pixels is None:
        pixels = "mean" if _has_mean(model, like) else "draw"
    options = {"temperature": temperature, "sites": sites, "values": values, "like": like}
    return draw_images(model, n, pixels=pixels, seed=seed, **options)


def _has_mean(model: Callable, like: Data | None) -> bool:
    """Whether p(x | z) has one."""
    device = device_of(model)
    with evaluating(model, device=device, seed=0), validation_enabled(False):
        data, options = called_with(like, 0, 1, device)
        return mean_of(drawn_until(model, "x", {}, *data, **options)[-1]["fn"]) is not None


def _seen(site: Site, pixels: Pixels) -> Shown:
    return shown(site["fn"]) if pixels == "mean" else Shown(site["fn"](), True)


def draws_from_prior(
    model: Callable,
    tree: xr.DataTree,
    draws: int = 40,
    *,
    temperature: float = 1.0,
    sites: Collection[str] | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Images that the model draws by itself, z ~ p(z) and x ~ p(x | z): (draw, channel, row, column).

    Of the tree's images only the shape counts, and what else is given with each, in turn. ``temperature`` of the
    latents, of ``sites`` alone where they are named: as for :func:`~ppvae.interventions.draw_images`.
    Errors: :class:`~ppvae.errors.UserError` for a tree that is not of this model's images.
    """
    check_whole("draws", draws, 1)
    name, device = str(images_of(tree).name), device_of(model)
    data = data_of(tree)
    parts = []
    with evaluating(model, device=device, seed=seed), validation_enabled(False):
        for start in range(0, draws, AT_ONCE):
            turn = torch.arange(start, min(start + AT_ONCE, draws)) % len(data[0])
            arguments = tuple(tensor[turn].to(device) for tensor in data)
            tempered = Tempered(temperature, sites, images=name)
            trace = traced(model, arguments, {}, Unobserved(), tempered)
            tempered.check_met()
            found = {site["name"]: site["value"] for site in sample_sites(trace)}
            if name not in found:
                raise UserError(f"the model has no site {name!r}; give the tree of this model's own posterior")
            parts.append(found[name].cpu())
    return _labelled(torch.cat(parts), ("draw",), {}, "draws of p(x)")


def _labelled(images: torch.Tensor, dims: tuple[str, ...], coords: dict, long_name: str) -> xr.DataArray:
    attributes = {"shown": "draws", "long_name": long_name}
    return xr.DataArray(images.numpy(), coords, (*dims, *PIXELS), "x", attributes)
