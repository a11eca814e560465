"""The draws of any pair: runs of the guide, and of the model given their values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit
from pyro.infer.autoguide import AutoGuide
from pyro.poutine.messenger import Messenger
from torch import nn

from ppvae.checks import check_observed, check_whole_plates
from ppvae.errors import UserError
from ppvae.pair.finite import check_finite, check_finite_run
from ppvae.pair.sites import Site, latent_sites, sample_sites
from ppvae.posterior.discrete import Summed
from ppvae.posterior.handlers import Unobserved, is_observation
from ppvae.posterior.masks import masks_of
from ppvae.posterior.runs import Call, Runs, drawn_sites, run, total

__all__ = ["Draws", "Prediction", "Programs", "check_trained", "weighed"]


@dataclass(frozen=True)
class Draws:
    """Some draws from the posterior: the model's runs there, and log q of their latents (draw,), in nats."""

    runs: Runs
    log_q: torch.Tensor

    @property
    def latents(self) -> dict[str, torch.Tensor]:
        """The latents (draw, ...) by site."""
        return {site["name"]: self.runs.values[site["name"]] for site in latent_sites(self.runs.example)}


class Programs:
    """A model and its guide with the arguments that both take, and runs of them.

    Errors: :class:`~ppvae.errors.UserError` for a site that only one of them has, unless it can be summed out, for a
    plate that subsamples, for latent sites that vary from run to run and for a guide that was never trained.
    """

    def __init__(self, model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any]) -> None:
        self.model, self.guide = Call(model, args, kwargs), Call(guide, args, kwargs)
        if isinstance(guide, AutoGuide) and guide.prototype_trace is None:
            raise UserError(f"the {type(guide).__name__} was never run, so it has no parameters; train it by SVI first")
        before = set(pyro.get_param_store())
        self.guide_trace = self.guide.alone()
        check_trained(self.guide_trace, before)
        drawn = {site["name"]: site["value"] for site in drawn_sites(self.guide_trace)}
        self.trace = self.model.alone(drawn)
        check_finite(model, guide)
        check_finite_run(self.guide_trace, self.trace)
        check_whole_plates(self.guide_trace, self.trace)
        for site in filter(is_observation, sample_sites(self.trace)):
            check_observed(site)
        latents = [site["name"] for site in latent_sites(self.trace)]
        for site in latent_sites(self.guide_trace):
            _check_in_model(site, latents)
        summed = [name for name in latents if name not in drawn]
        for name in summed:
            _check_enumerable(self.trace.nodes[name], self.guide_trace)
        self.summed = Summed(self.model, self.trace, summed, _plate_dims(self.guide_trace, self.trace))
        self.masks = masks_of(self.guide_trace, self.trace)
        self.weighed = weighed(guide, self.guide_trace, self.trace)
        self.sites = {site["name"] for one in (self.guide_trace, self.trace) for site in sample_sites(one)}
        self.event_dims = {**_event_dims(self.guide_trace), **_event_dims(self.trace)}

    @property
    def entries(self) -> int:
        """How many numbers one draw of both programs holds."""
        sites = [*sample_sites(self.guide_trace), *sample_sites(self.trace)]
        return sum(torch.as_tensor(site["value"]).numel() for site in sites)

    def draws(self, count: int) -> Draws:
        """Draws; what only the model has comes from its exact posterior given the guide's values.

        log q of the whole is then log q(guide's sites) + log p(summed sites | guide's sites, observations).
        """
        guide = run(self.guide, self.guide_trace, count)
        given, log_q = guide.drawn(), self._log_q(guide)
        if not self.summed.names:
            return Draws(run(self.model, self.trace, count, given), log_q)
        values, log_sum = self.summed.draw(given, count)
        runs = run(self.model, self.trace, count, given | values)
        return Draws(runs, log_q + runs.log_prob - log_sum)

    def _log_q(self, guide: Runs) -> torch.Tensor:
        """Of what the guide draws and weighs, (draw,)."""
        terms = {name: guide.terms[name] for name in self.weighed}
        terms |= {name: torch.where(mask, terms[name], 0.0) for name, mask in self.masks.items()}
        return total(terms.values(), guide.count)

    def prior(self, count: int) -> Runs:
        """Runs of the model with nothing observed."""
        return run(self._free, self._free_trace, count)

    def replicate(self, draws: Draws) -> Runs:
        """Runs of the model with new observations, at the latents' values."""
        return run(self._free, self._free_trace, draws.runs.count, draws.runs.drawn())

    @cached_property
    def _free(self) -> Call:
        return self.model.under(Unobserved())

    @cached_property
    def _free_trace(self) -> poutine.Trace:
        return self._free.alone()


class Prediction:
    """The model for other arguments: latents whose shape stays keep their values, all else is drawn or computed anew.

    Errors: :class:`~ppvae.errors.UserError` for a plate that subsamples.
    """

    def __init__(self, model: Callable, args: tuple, kwargs: Mapping[str, Any]) -> None:
        self.call = Call(model, args, kwargs, (Unobserved(),))
        self.example = self.call.alone()
        check_whole_plates(self.example)

    def runs(self, draws: Draws) -> tuple[Runs, list[Site]]:
        """Runs at the draws' values, and the sites that are new."""
        shapes = {site["name"]: site["fn"].shape() for site in latent_sites(self.example)}
        kept = {name: value for name, value in draws.latents.items() if shapes.get(name) == value.shape[1:]}
        sites = [site for site in data_sites(self.example) if site["name"] not in kept]
        return run(self.call, self.example, draws.runs.count, kept), sites


def weighed(guide: Callable, guide_trace: poutine.Trace, trace: poutine.Trace) -> list[str]:
    """The guide's sites whose densities make up log q, as Pyro's ELBO counts them.

    Those of the model's observations are no part of it, which a guide that runs the model meets on its way.
    """
    data = {site["name"] for site in sample_sites(trace) if site["is_observed"]}
    if isinstance(poutine.unwrap(guide), Messenger):
        return [site["name"] for site in drawn_sites(guide_trace)]
    own = (site for site in sample_sites(guide_trace) if site["infer"].get("is_auxiliary") or site["name"] not in data)
    return [site["name"] for site in own]


def data_sites(trace: poutine.Trace) -> list[Site]:
    """Sample sites but bare factors."""
    return [site for site in sample_sites(trace) if not isinstance(site["fn"], Unit)]


def check_trained(guide_trace: poutine.Trace, before: set[str]) -> None:
    """UserError for the parameters that this run of the guide added to the store, which had those of ``before``.

    Modules put theirs there as ``nn.Parameter`` or before the statement; these hold what they have learnt elsewhere.
    """
    added = [site for name, site in guide_trace.nodes.items() if site["type"] == "param" and name not in before]
    own = [site["name"] for site in added if site["name"] in pyro.get_param_store() and _starts(site)]
    if own:
        raise UserError(
            f"the guide's params {', '.join(map(repr, own))} were never trained: Pyro's parameter store has none of "
            "that name; train the guide by SVI first, or load its store"
        )


def _starts(site: Site) -> bool:
    """Whether a parameter statement gives the parameter its first value."""
    first = site["args"][1] if len(site["args"]) > 1 else site["kwargs"].get("init_tensor")
    return first is not None and not isinstance(first, nn.Parameter)


def _event_dims(trace: poutine.Trace) -> dict[str, list[str]]:
    sites = [site for site in trace.nodes.values() if site["type"] == "sample"]
    return {site["name"]: list(site["infer"]["event_dims"]) for site in sites if "event_dims" in site["infer"]}


def _plate_dims(*traces: poutine.Trace) -> int:
    """How many dims, counted from the right, the plates take."""
    sites = [site for trace in traces for site in trace.nodes.values() if site["type"] == "sample"]
    return max((-f.dim for site in sites for f in site["cond_indep_stack"] if f.vectorized), default=0)


def _check_in_model(site: Site, latents: list[str]) -> None:
    if site["name"] not in latents and not site["infer"].get("is_auxiliary"):
        raise UserError(
            f"site {site['name']!r} is in the guide but not in the model ({', '.join(latents)}); "
            "rename it, or mark it infer={'is_auxiliary': True}"
        )


def _check_enumerable(site: Site, guide_trace: poutine.Trace) -> None:
    if not getattr(site["fn"], "has_enumerate_support", False):
        drawn = [other["name"] for other in latent_sites(guide_trace) if not other["infer"].get("is_auxiliary")]
        raise UserError(
            f"site {site['name']!r} is neither observed nor drawn by the guide ({', '.join(drawn)}), and a "
            f"{_name_of(site['fn'])} cannot be summed out; draw it in the guide, or pass its data in model_args"
        )


def _name_of(fn: Any) -> str:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return type(fn).__name__
