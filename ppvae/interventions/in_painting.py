"""The rest of images of which the first pixels are given, z inferred from the given pixels alone."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyro
import torch
import xarray as xr
from pyro import validation_enabled

from ppvae.checks import check_data, check_sites
from ppvae.distributions import AutoregressiveImage
from ppvae.errors import UserError, check_whole
from ppvae.interventions.decoding import sites_before
from ppvae.interventions.held import PIXELS
from ppvae.pair.program import Data
from ppvae.pair.sites import latent_sites, observed_sites
from ppvae.pair.untouched import device_of, evaluating
from ppvae.posterior.handlers import Given, prior_part, traced

__all__ = ["in_paint"]

AT_ONCE = 512  # images under a code each, scored or drawn at a time

type Values = dict[str, torch.Tensor]
"""Codes by site, (code, image, *event dims)."""


def in_paint(
    model: Callable,
    guide: Callable,
    images: Data,
    pixels: int | None = None,
    *,
    draws: int = 6,
    candidates: int = 32,
    sweeps: int = 3,
    seed: int = 0,
) -> xr.DataArray:
    """Draws of p(x | first ``pixels`` of the image in raster order), z among them: in-painting; by default one half.

    Neither q(z | image), which has seen what is to be drawn, nor z ~ p(z), which has seen nothing, will do: z is to
    come from p(z | given) ∝ p(z) p(given | z). Importance sampling with resampling: ``candidates`` codes of the prior
    are weighted by p(given | z), which raster order makes exact; ``draws`` of them complete the image; then, ``sweeps``
    times, as many candidates of q(z | completed images) join new ones of the prior, all weighted by p(z) p(given | z)
    over the mixture that they come from, and complete the image anew. The share of the prior bounds the weights.

    Approximate is that candidates are finitely many: exact as they grow, for any number of sweeps, which only bring the
    proposals near. The coordinate ``effective`` (image), (Σw)²/Σw² of the last candidates, says how far that holds:
    near one, all draws of an image stand on one code. What is drawn given z is exact, and keeps the given pixels.

    Shapes: images (image, C, H, W), as the pair takes them, or a tuple of them and what else it takes of each; of the
    images only the given pixels are looked at. Returns (image, draw, channel, row, column); attribute ``pixels``.
    Modules, random state and parameter store stay as they were; one seed gives one result.
    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, a likelihood that does not go by
    raster order, or numbers out of range.
    Sources: Rubin 1988 (sampling importance resampling); Cappé et al. 2004, "Population Monte Carlo"; Mattei and
    Frellsen 2018, Sec. 4, for missing pixels.
    """
    inputs = check_data(images, model, guide, seed=seed)
    rows, columns = inputs[0].shape[-2:]
    pixels = rows // 2 * columns if pixels is None else pixels
    for name, value in (("draws", draws), ("candidates", candidates)):
        check_whole(name, value, 1)
    for name, value in (("pixels", pixels), ("sweeps", sweeps)):
        check_whole(name, value, 0)
    if pixels > rows * columns:
        raise UserError(f"pixels={pixels}: the images have {rows * columns}; give at most these")
    device = device_of(model, guide)
    data = tuple(values.to(device) for values in inputs)
    with evaluating(model, guide, device=device, seed=seed), validation_enabled(False):
        names, site = _sites(model, guide, tuple(values[:1] for values in data))
        pair = _Pair(model, guide, names, site, data, pixels)
        codes = pair.from_prior(candidates)
        log_weights = pair.scores(codes)[1]
        for _ in range(sweeps):
            completed = pair.completed(_resampled(codes, log_weights, draws))
            from_guide = pair.from_guide(completed, -(-candidates // draws))
            codes = _together(pair.from_prior(candidates), from_guide)
            log_p, given = pair.scores(codes)
            shares = torch.tensor([candidates, len(next(iter(from_guide.values())))], device=device).double()
            parts = torch.stack([log_p, pair.guide_scores(codes, completed)])
            mixture = (parts + (shares / shares.sum()).log()[:, None, None]).logsumexp(0)
            log_weights = log_p + given - mixture
        drawn = pair.completed(_resampled(codes, log_weights, draws)).transpose(0, 1).cpu()
    weights = log_weights.softmax(0)
    effective = (1 / weights.square().sum(0)).cpu().numpy()
    attributes = {"shown": "draws", "pixels": pixels, "long_name": "draws of p(x) given its first pixels"}
    coords = {"effective": ("image", effective, {"long_name": "effective codes of each image", "units": "codes"})}
    return xr.DataArray(drawn.numpy(), coords, ("image", "draw", *PIXELS), "x", attributes)


def _sites(model: Callable, guide: Callable, image: tuple[torch.Tensor, ...]) -> tuple[list[str], str]:
    """The latents that both programs draw, and the site that observes the image."""
    *_, trace = check_sites(model, guide, image)
    observed = observed_sites(trace)
    if len(observed) != 1 or not isinstance(observed[0]["fn"], AutoregressiveImage):
        found = ", ".join(type(site["fn"]).__name__ for site in observed)
        raise UserError(
            f"the images are observed by {found or 'nothing'}; in-painting goes by raster order: give a model with an "
            "AutoregressiveLikelihood"
        )
    return [site["name"] for site in latent_sites(trace)], observed[0]["name"]


class _Pair(NamedTuple):
    """The programs with the images that are given in part."""

    model: Callable
    guide: Callable
    names: list[str]
    site: str
    data: tuple[torch.Tensor, ...]
    pixels: int

    def from_prior(self, codes: int) -> Values:
        with pyro.plate("draws", codes, dim=-2):
            trace = prior_part(self.model, self.names, *self.data)
        return {name: trace.nodes[name]["value"] for name in self.names}

    def from_guide(self, completed: torch.Tensor, each: int) -> Values:
        """So many codes of each completed image (draw, image, C, H, W), all of an image's together."""
        draws = len(completed)
        with pyro.plate("draws", each, dim=-2):
            trace = traced(self.guide, self._with(completed), {})
        found = {name: trace.nodes[name]["value"].unflatten(1, (draws, -1)) for name in self.names}
        return {name: value.flatten(0, 1) for name, value in found.items()}

    def guide_scores(self, codes: Values, completed: torch.Tensor) -> torch.Tensor:
        """log of the mean of q(z | x) over each image's completions, (code, image)."""
        draws, count = len(completed), len(next(iter(codes.values())))
        given = {name: value.repeat(1, draws, *[1] * (value.dim() - 2)) for name, value in codes.items()}
        with pyro.plate("draws", count, dim=-2):
            trace = traced(self.guide, self._with(completed), {}, Given(given))
        nodes = [trace.nodes[name] for name in self.names]
        log_q = sum(site["fn"].log_prob(site["value"]) for site in nodes).double()
        return log_q.unflatten(1, (draws, -1)).logsumexp(1) - math.log(draws)

    def scores(self, codes: Values) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(z) and log p(given | z), (code, image) each."""
        found = []
        for sites, data in self._run(codes):
            log_p = sum(site["fn"].log_prob(site["value"]) for site in sites[:-1] if not site["is_observed"])
            by_pixel = sites[-1]["fn"].log_prob_by_pixel(data[0]).flatten(-2)
            found.append(torch.stack([log_p, by_pixel[..., : self.pixels].sum(-1)], -1).double())
        return torch.cat(found).unflatten(0, (-1, len(self.data[0]))).unbind(-1)

    def completed(self, codes: Values) -> torch.Tensor:
        """Images that keep what is given, one for each code: (code, image, C, H, W)."""
        drawn = [sites[-1]["fn"].given_prefix(data[0], self.pixels).sample() for sites, data in self._run(codes)]
        return torch.cat(drawn).unflatten(0, (-1, len(self.data[0])))

    def _run(self, codes: Values) -> Iterator[tuple[list, tuple[torch.Tensor, ...]]]:
        """The model's sites up to the images, part by part of all codes of all images."""
        count = len(next(iter(codes.values())))
        flat = {name: value.flatten(0, 1) for name, value in codes.items()}
        data = tuple(values.repeat(count, *[1] * (values.dim() - 1)) for values in self.data)
        for start in range(0, len(data[0]), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            part = tuple(values[some] for values in data)
            yield sites_before(self.model, self.site, {name: value[some] for name, value in flat.items()}, *part), part

    def _with(self, completed: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The guide's inputs of completed images, an image's own beside each of them."""
        others = (values.repeat(len(completed), *[1] * (values.dim() - 1)) for values in self.data[1:])
        return completed.flatten(0, 1), *others


def _resampled(codes: Values, log_weights: torch.Tensor, draws: int) -> Values:
    """So many of each image's codes, by their weights."""
    chosen = torch.multinomial(log_weights.softmax(0).T, draws, replacement=True).T  # (draw, image)
    images = torch.arange(chosen.shape[1], device=chosen.device)
    return {name: value[chosen, images] for name, value in codes.items()}


def _together(first: Values, second: Values) -> Values:
    return {name: torch.cat([value, second[name]]) for name, value in first.items()}
