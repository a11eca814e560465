"""Draws of the latents from p(z), some at a time, and the latents' variance there."""

from collections.abc import Callable

import pyro
import torch

from ppvae.pair.sites import Arrays, Site, event_dims, latent_sites
from ppvae.posterior.handlers import prior_part, traced

__all__ = ["prior_of"]


def prior_of(
    model: Callable,
    data: tuple[torch.Tensor, ...],
    keeps: Callable[[str], bool],
    draws: int = 1024,
    at_once: int = 1024,
) -> tuple[Arrays, dict[str, float | list[float]]]:
    """Draws of each latent site that ``keeps`` names from p(z), and the variance of all of them there.

    That is one number, the mean over the latents, or one for each latent of a vector whose latents are known to have
    variances of their own. The model ends behind its last latent: no image is drawn."""
    names = [site["name"] for site in latent_sites(traced(model, data, {}))]
    kept: dict[str, list[torch.Tensor]] = {}
    dims: dict[str, tuple[str, ...]] = {}
    variances: dict[str, _TotalVariance] = {}
    for start in range(0, draws if names else 0, at_once):
        with pyro.plate("draws", min(at_once, draws - start), dim=-2):
            trace = prior_part(model, names, *data)
        for site in (trace.nodes[name] for name in names):
            if keeps(site["name"]):
                kept.setdefault(site["name"], []).append(site["value"][:, 0])
                dims[site["name"]] = ("draw", *event_dims(site))
            if site["value"].is_floating_point():
                variances.setdefault(site["name"], _TotalVariance()).add(site)
    prior = {name: (dims[name], torch.cat(parts)) for name, parts in kept.items()}
    return prior, {name: variance.told() for name, variance in variances.items()}


class _TotalVariance:
    """A site's variance under p(z): the mean variance given its parents and the variance of the means, over draws.

    Of a distribution without moments in closed form that of its draws."""

    def __init__(self) -> None:
        self.count, self.sums, self.correction = 0, None, 0
        self.own: torch.Tensor | None = None  # of each latent, where it is the same in all draws

    def add(self, site: Site) -> None:
        try:
            mean, variance = site["fn"].mean, site["fn"].variance
        except NotImplementedError:
            mean, variance, self.correction = site["value"], torch.zeros_like(site["value"]), 1
        mean, variance = (moment.flatten(0, 1).double() for moment in (mean, variance))
        sums = torch.stack([variance.sum(0), mean.sum(0), mean.square().sum(0)])
        known = not self.correction and mean.dim() == 2 and all((one == one[0]).all() for one in (mean, variance))
        self.own = variance[0] if known else None
        self.count += len(mean)
        self.sums = sums if self.sums is None else self.sums + sums

    def told(self) -> float | list[float]:
        """Of each latent, where these are known and differ; else the mean over the latents."""
        if self.own is None or bool((self.own == self.own[0]).all()):
            return self.mean()
        return self.own.tolist()

    def mean(self) -> float:
        """Over the latents."""
        within, mean, square = self.sums / self.count
        between = (square - mean.square()).clamp(min=0) * (self.count / max(self.count - self.correction, 1))
        return float((within + between).mean())
