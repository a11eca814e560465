"""Latents set by hand and what the model makes of them: the one way in which interventions decode."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
import xarray as xr
from pyro import validation_enabled

from ppvae.interventions.held import PIXELS
from ppvae.interventions.pictures import Shown, shown
from ppvae.interventions.temperature import Tempered
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.sites import Site
from ppvae.pair.untouched import device_of, evaluating
from ppvae.posterior.handlers import sites_until

__all__ = [
    "Values",
    "called_with",
    "decoded",
    "dependent",
    "drawn_until",
    "in_parts",
    "joined",
    "labelled",
    "picture",
    "sites_before",
]

AT_ONCE = 512  # images decoded at a time

type Values = Mapping[str, torch.Tensor]


def decoded[T](model: Callable, read: Callable[..., T], name: str, values: Values, *data: torch.Tensor) -> list[T]:
    """What ``read(site, *data)`` makes of the site ``name`` that observes the images, given all latents' ``values``.

    The model is run on the data up to that site, which is not drawn. Shapes: values (image, *event dims), data (image,
    ...); a part of the images each.
    """

    def run(part: Values, *inputs: torch.Tensor) -> T:
        return read(sites_before(model, name, part, *inputs)[-1], *inputs)

    return in_parts(model, run, values, *data)


def in_parts[T](
    program: Callable, run: Callable[..., T], values: Values, *data: torch.Tensor, seed: int = 0
) -> list[T]:
    """``run(values, *data)`` of so many images at a time, on the program's device, which leaves no trace in it."""
    device, count = device_of(program), len(next(iter(values.values())))
    found = []
    with evaluating(program, device=device, seed=seed), validation_enabled(False):
        for start in range(0, count, AT_ONCE):
            some = slice(start, start + AT_ONCE)
            part = {name: value[some].to(device) for name, value in values.items()}
            found.append(run(part, *(tensor[some].to(device) for tensor in data)))
    return found


def sites_before(model: Callable, name: str, values: Values, *data: torch.Tensor, **options: Any) -> list[Site]:
    """The model's sites up to ``name``; latents without a value at their mean under the prior, or at one draw."""
    return sites_until(model, name, values, lambda prior: shown(prior).images, *data, **options)


def drawn_until(
    model: Callable,
    name: str,
    values: Values,
    *data: torch.Tensor,
    temperature: float = 1.0,
    sites: Collection[str] | None = None,
    **options: Any,
) -> list[Site]:
    """The model's sites up to ``name``; latents without a value are drawn at a temperature, or those of ``sites``.

    Errors: :class:`~ppvae.errors.UserError` for a site that the model lacks, or of which there is no temperature.
    """
    tempered = Tempered(temperature, sites, images=name)
    passed = sites_until(tempered(model), name, values, lambda prior: prior(), *data, **options)
    tempered.check_met()
    return passed


def called_with(like: Data | None, start: int, count: int, device: torch.device) -> tuple[tuple, dict[str, int]]:
    """What a model is called with to draw so many images: their number, or what is given with them, in turn."""
    if like is None:
        return (), {"size": count}
    data = inputs_of(like)
    turn = torch.arange(start, start + count) % len(data[0])
    return tuple(tensor[turn.to(tensor.device)].to(device) for tensor in data), {}


def dependent(model: Callable, name: str, site: str, values: Values, *data: torch.Tensor) -> list[str]:
    """Latent sites before ``name`` whose distribution changes with the value of ``site``, all of ``values`` held.

    Seen where images exchange their values of the site. Shapes as for :func:`decoded`.
    """

    def densities(given: Values) -> list[dict[str, torch.Tensor]]:
        def run(part: Values, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            latents = [s for s in sites_before(model, name, part, *inputs) if s["name"] in values and s["name"] != site]
            return {latent["name"]: latent["fn"].log_prob(latent["value"]) for latent in latents}

        few = slice(AT_ONCE)
        return in_parts(model, run, {n: v[few] for n, v in given.items()}, *(tensor[few] for tensor in data))

    (here,), (there,) = densities(values), densities({**values, site: values[site][:AT_ONCE].flip(0)})
    return [latent for latent, density in here.items() if not torch.equal(density, there[latent])]


def joined(parts: list[Shown]) -> Shown:
    """Parts of the images put together, on the CPU."""
    return Shown(torch.cat([part.images.cpu() for part in parts]), parts[0].drawn)


def picture(site: Site, *_data: torch.Tensor) -> Shown:
    """What stands for the site's distribution, as :func:`decoded` reads it."""
    return shown(site["fn"])


def labelled(pictures: Shown, dims: tuple[str, ...], coords: dict, **attributes: object) -> xr.DataArray:
    """Pictures with the names of their leading dims; the attribute ``shown`` says ``mean`` or ``draws``."""
    inner = pictures.images.dim() - len(dims)
    pixels = PIXELS if inner == len(PIXELS) else tuple(f"x_dim_{k}" for k in range(inner))
    kind, long_name = ("draws", "draws of p(x|z), of one noise") if pictures.drawn else ("mean", "mean of p(x|z)")
    attributes = {"shown": kind, "long_name": long_name, **attributes}
    return xr.DataArray(pictures.images.numpy(), coords, (*dims, *pixels), "x", attributes)
