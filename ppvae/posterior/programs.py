"""The draws of any pair, one at a time: a trace of the guide, and of the model given its values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit
from pyro.infer.autoguide import AutoGuide
from torch import nn

from ppvae.errors import UserError
from ppvae.pair.sites import Site, latent_sites, sample_sites
from ppvae.posterior.discrete import draw_discrete, log_summed
from ppvae.posterior.handlers import Given, Unobserved, traced

__all__ = ["Draw", "Programs", "check_trained"]


@dataclass(frozen=True)
class Draw:
    """One draw from the posterior: the model's trace there, and log q of its latents in nats."""

    trace: poutine.Trace
    log_q: torch.Tensor

    @property
    def values(self) -> dict[str, torch.Tensor]:
        """The latents by site."""
        return {site["name"]: site["value"] for site in latent_sites(self.trace)}


class Programs:
    """A model and its guide with the arguments that both take.

    Errors: :class:`~ppvae.errors.UserError` for a site that only one of them has, unless it can be summed out, for a
    plate that subsamples, for latent sites that vary from run to run and for a guide that was never trained.
    """

    def __init__(self, model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any]) -> None:
        self.model, self.guide, self.args, self.kwargs = model, guide, args, kwargs
        if isinstance(guide, AutoGuide) and guide.prototype_trace is None:
            raise UserError(f"the {type(guide).__name__} was never run, so it has no parameters; train it by SVI first")
        before = set(pyro.get_param_store())
        guide_trace = traced(guide, args, kwargs)
        check_trained(guide_trace, before)
        drawn = _drawn(guide_trace)
        trace = traced(model, args, kwargs, Given(drawn))
        check_whole_plates(guide_trace, trace)
        self.latents = [site["name"] for site in latent_sites(trace)]
        self.summed = [name for name in self.latents if name not in drawn]
        for site in latent_sites(guide_trace):
            _check_in_model(site, self.latents)
        for name in self.summed:
            _check_enumerable(trace.nodes[name], guide_trace)
        self.sites = {site["name"] for one in (guide_trace, trace) for site in sample_sites(one)}
        self.plates = _plate_dims(guide_trace, trace)
        self.event_dims = {**_event_dims(guide_trace), **_event_dims(trace)}

    def draw(self) -> Draw:
        """One draw; what only the model has comes from its exact posterior given the guide's values.

        log q of the whole is then log q(guide's sites) + log p(summed sites | guide's sites, observations).
        """
        guide_trace = traced(self.guide, self.args, self.kwargs)
        given, log_q = _drawn(guide_trace), guide_trace.log_prob_sum()
        if not self.summed:
            return Draw(self._trace(given), log_q)
        program = (self.model, self.args, self.kwargs, given, self.summed, self.plates)
        trace = self._trace({**given, **draw_discrete(*program)})
        return Draw(trace, log_q + trace.log_prob_sum() - log_summed(*program))

    def _trace(self, values: Mapping[str, torch.Tensor]) -> poutine.Trace:
        trace = traced(self.model, self.args, self.kwargs, Given(values))
        found = [site["name"] for site in latent_sites(trace)]
        if set(found) != set(self.latents) or not set(found) <= set(values):
            raise UserError(f"latent sites {found} came after {self.latents}; make them the same in every run")
        return trace

    def prior(self) -> poutine.Trace:
        """The model's trace with nothing observed."""
        return traced(self.model, self.args, self.kwargs, Unobserved())

    def replicate(self, values: Mapping[str, torch.Tensor]) -> poutine.Trace:
        """The model's trace with new observations, at the latents' values."""
        return traced(self.model, self.args, self.kwargs, Unobserved(), Given(values))

    def predict(self, draw: Draw, args: tuple, kwargs: Mapping[str, Any]) -> list[Site]:
        """The model's sites for other arguments: latents whose shape stays keep their values, the rest is drawn.

        Returns what is drawn or computed anew.
        """
        fresh = traced(self.model, args, kwargs, Unobserved())
        check_whole_plates(fresh)
        shapes = {site["name"]: site["fn"].shape() for site in latent_sites(fresh)}
        kept = {name: value for name, value in draw.values.items() if shapes.get(name) == value.shape}
        trace = traced(self.model, args, kwargs, Unobserved(), Given(kept))
        return [site for site in data_sites(trace) if site["name"] not in kept]


def data_sites(trace: poutine.Trace) -> list[Site]:
    """Sample sites but bare factors."""
    return [site for site in sample_sites(trace) if not isinstance(site["fn"], Unit)]


def check_whole_plates(*traces: poutine.Trace) -> None:
    """UserError for a plate that subsamples: each draw would be of other data."""
    for trace in traces:
        for name, site in trace.nodes.items():
            whole = getattr(site.get("fn"), "size", None) if _is_plate(site) else None
            if whole is not None and len(site["value"]) < whole:
                raise UserError(
                    f"plate {name!r} subsamples {len(site['value'])} of {whole}, and each draw would be of other data; "
                    "export with the whole plate: subsample_size=None, all data in model_args"
                )


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


def _is_plate(site: Site) -> bool:
    return site["type"] == "sample" and type(site["fn"]).__name__ == "_Subsample"


def _drawn(guide_trace: poutine.Trace) -> dict[str, torch.Tensor]:
    return {site["name"]: site["value"] for site in latent_sites(guide_trace)}


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
