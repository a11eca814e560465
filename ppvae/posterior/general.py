"""The DataTree of any pair: its draws stacked, its dims named after plates and declared event dims."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyro
import torch
import xarray as xr
from pyro import poutine
from tqdm.auto import tqdm

from ppvae.pair.sites import Arrays, Named, Site, latent_sites, recorded_sites, sample_sites
from ppvae.pair.untouched import device_of, evaluating, unit_of
from ppvae.posterior.handlers import is_observation
from ppvae.posterior.layout import Labels, Names, check_known, log_probs, values, whole_shape
from ppvae.posterior.point import PointTree, is_point_estimate
from ppvae.posterior.programs import Prediction, Programs
from ppvae.posterior.runs import CHECKED, Runs
from ppvae.posterior.sources import seed_stream
from ppvae.posterior.trees import check_coords, constants, dataset, labelled, tree_of

__all__ = ["General"]

type Samples = Mapping[str, Any]

ENTRIES = 2**22  # numbers that the programs' sites hold at a time


@dataclass(frozen=True)
class General:
    """One call for a pair of any structure: what is drawn; each field as the argument of ``from_pyro_svi``."""

    model: Callable
    guide: Callable
    num_samples: int
    model_args: tuple
    model_kwargs: Mapping[str, Any]
    prior: bool | Samples
    posterior_predictive: bool | Samples
    predictions: Samples | None
    pred_args: tuple | None
    pred_kwargs: Mapping[str, Any] | None
    log_likelihood: bool
    observed_data: bool
    constant_data: Samples | xr.Dataset | None
    predictions_constant_data: Samples | xr.Dataset | None
    labels: Labels
    batch_size: int
    seed: int

    def run(self, progress: bool) -> xr.DataTree:
        """Draw everything and name it."""
        device = device_of(self.model, self.guide)
        with evaluating(self.model, self.guide, device=device, seed=self.seed), pyro.validation_enabled(False):
            programs = Programs(self.model, self.guide, self.model_args, self.model_kwargs)
            self._check_names(programs.sites)
            names = self.labels.names(programs.event_dims, self.labels.dims)
            prediction = self._prediction()
            with tqdm(total=self.num_samples, unit="draw", disable=not progress) as bar:
                parts = self._drawn(programs, prediction, names, device, bar)
        groups = {name: _joined([part[name] for part in parts]) for name in parts[0]}
        if self.observed_data:
            observed = filter(is_observation, map(_blanked, sample_sites(programs.trace)))
            groups["observed_data"] = {site["name"]: values(site, names) for site in observed}
        groups |= self._given(programs.trace, names)
        return self._tree({name: group for name, group in groups.items() if group})

    def _prediction(self) -> Prediction | None:
        if self.pred_args is None and self.pred_kwargs is None:
            return None
        return Prediction(self.model, tuple(self.pred_args or ()), self.pred_kwargs or {})

    def _drawn(
        self, programs: Programs, prediction: Prediction | None, names: Names, device: torch.device, bar: tqdm
    ) -> list[dict[str, Arrays]]:
        """All draws, as many at once as memory allows; one by one where the programs do not take a plate of draws."""
        step = min(self.batch_size, max(1, ENTRIES // max(1, programs.entries)))
        if min(step, self.num_samples) > 2 * CHECKED:
            with suppress(Exception):  # the programs' own errors return when each draw is made on its own
                return self._by(step, programs, prediction, names, device, bar)
            bar.reset()
        return self._by(1, programs, prediction, names, device, bar)

    def _by(
        self,
        step: int,
        programs: Programs,
        prediction: Prediction | None,
        names: Names,
        device: torch.device,
        bar: tqdm,
    ) -> list[dict[str, Arrays]]:
        parts = []
        for start in range(0, self.num_samples, step):
            count = min(step, self.num_samples - start)
            seed_stream(device, self.seed, start // step)
            parts.append(self._groups(programs, prediction, count, names))
            bar.update(count)
        return parts

    def _check_names(self, sites: set[str]) -> None:
        given = [self.constant_data, self.prior, self.posterior_predictive, self.predictions]
        known = sites.union(*(map(str, names) for names in given if isinstance(names, Mapping | xr.Dataset)))
        check_known("dims", self.labels.dims, known)
        if self.pred_args is None and self.pred_kwargs is None:  # else the model may have other sites there
            check_known("extra_event_dims", self.labels.extra_event_dims, known)

    def _groups(self, programs: Programs, prediction: Prediction | None, count: int, names: Names) -> dict[str, Arrays]:
        """All that some draws give."""
        draws = programs.draws(count)
        runs, latents = draws.runs, latent_sites(programs.trace)
        groups: dict[str, Arrays] = {
            "posterior": _values(runs, [*latents, *recorded_sites(programs.trace)], names),
            "sample_stats": {"log_p": (("draw",), runs.log_prob), "log_q": (("draw",), draws.log_q)},
            "log_prior": _terms(runs, latents, names),
        }
        if self.log_likelihood:
            groups["log_likelihood"] = _terms(runs, filter(is_observation, sample_sites(programs.trace)), names)
        if self.posterior_predictive is True:
            replicas = programs.replicate(draws)
            groups["posterior_predictive"] = _values(
                replicas, filter(_was_observed, latent_sites(replicas.example)), names
            )
        if prediction is not None:
            predicted, new = prediction.runs(draws)
            named = self.labels.names(programs.event_dims, self.labels.pred_dims)
            groups["predictions"] = _values(predicted, new, named)
        if self.prior is True:
            prior = programs.prior(count)
            drawn = [*latent_sites(prior.example), *recorded_sites(prior.example)]
            groups["prior"] = _values(prior, [site for site in drawn if not _was_observed(site)], names)
            groups["prior_predictive"] = _values(prior, filter(_was_observed, drawn), names)
        return groups

    def _given(self, trace: poutine.Trace, names: Names) -> dict[str, Arrays]:
        """The groups whose samples the user gives, each (draw, *shape of the site) as ``Predictive`` returns them."""
        groups = {"posterior_predictive": self.posterior_predictive, "predictions": self.predictions}
        if isinstance(self.prior, Mapping):
            known = {site["name"] for site in [*latent_sites(trace), *recorded_sites(trace)]}
            groups["prior"] = {name: v for name, v in self.prior.items() if name in known}
            groups["prior_predictive"] = {name: v for name, v in self.prior.items() if name not in known}
        of_group = {"predictions": Names(self.labels.pred_dims, names.events)}
        return {
            group: {name: _sampled(trace, name, array, of_group.get(group, names)) for name, array in samples.items()}
            for group, samples in groups.items()
            if isinstance(samples, Mapping)
        }

    def _tree(self, arrays: dict[str, Arrays]) -> xr.DataTree:
        labels = self.labels
        groups = {name: dataset([part], labels.sample_dims, unit_of(self.model), name) for name, part in arrays.items()}
        if self.constant_data is not None:
            groups["constant_data"] = constants(self.constant_data, labels.dims)
        predicted = {"predictions": groups.pop("predictions")} if "predictions" in groups else {}
        if self.predictions_constant_data is not None:
            predicted["predictions_constant_data"] = constants(self.predictions_constant_data, labels.pred_dims)
        sizes = {dim: size for group in groups.values() for dim, size in group.sizes.items()}
        others = {dim: size for group in predicted.values() for dim, size in group.sizes.items()}
        check_coords(labels.coords, {**others, **sizes})
        fitting = {dim: values for dim, values in labels.coords.items() if others.get(dim) == len(values)}
        tree = {name: labelled(group, labels.coords, labels.index_origin) for name, group in groups.items()}
        tree |= {name: labelled(group, fitting, labels.index_origin) for name, group in predicted.items()}
        kind = PointTree if is_point_estimate(tree, labels.sample_dims) else xr.DataTree
        return tree_of(tree, labels.sample_dims, kind, num_samples=self.num_samples, seed=self.seed)


def _values(runs: Runs, sites: Iterable[Site], names: Names) -> Arrays:
    """The sites' values, (draw, *dims)."""
    found = {}
    for site in sites:
        (dims, one), many = values(site, names), runs.values[site["name"]]
        found[site["name"]] = ("draw", *dims), _shaped(many, whole_shape(site), one.shape)
    return found


def _terms(runs: Runs, sites: Iterable[Site], names: Names) -> Arrays:
    """The sites' log densities, (draw, *dims)."""
    found = {}
    for site in sites:
        (dims, one), many = log_probs(site, site["log_prob"], names), runs.terms[site["name"]]
        whole = torch.broadcast_shapes(many.shape[1:], site["fn"].batch_shape)
        found[site["name"]] = ("draw", *dims), _shaped(many, whole, one.shape)
    return found


def _shaped(many: torch.Tensor, whole: torch.Size, shape: torch.Size) -> torch.Tensor:
    """Many (draw, ...), each stretched to its ``whole`` shape and then laid out as ``shape``."""
    count, missing = len(many), len(whole) - (many.dim() - 1)
    return many.reshape(count, *(1,) * missing, *many.shape[1:]).expand(count, *whole).reshape(count, *shape)


def _was_observed(site: Site) -> bool:
    return bool(site["infer"].get("was_observed"))


def _blanked(site: Site) -> Site:
    """A site's values with NaN where its mask says that they are missing."""
    mask = site.get("mask")
    if not isinstance(mask, torch.Tensor) or not torch.is_floating_point(site["value"]):
        return site
    mask = mask.reshape(mask.shape + (1,) * site["fn"].event_dim)
    return {**site, "value": torch.where(mask, site["value"], torch.nan)}


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: (dims, torch.cat([part[name][1] for part in parts])) for name, (dims, _) in parts[0].items()}


def _sampled(trace: poutine.Trace, name: str, samples: Any, names: Names) -> Named:
    """Given samples with the dims of their site; of no site, with those named for them."""
    array = torch.as_tensor(samples)
    site = trace.nodes.get(name)
    if site is None:
        dims = names.dims.get(name, [f"{name}_dim_{i}" for i in range(array.dim() - 1)])
        return ("draw", *dims), array
    as_given = {**site["infer"], "_deterministic": True}  # of its own size, whatever the plates' are
    dims, value = values({**site, "infer": as_given, "value": array[0]}, names)
    return ("draw", *dims), array.reshape(len(array), *value.shape)
