"""The DataTree of any pair: its draws stacked, its dims named after plates and declared event dims."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import torch
import xarray as xr
from tqdm.auto import tqdm

from ppvae.errors import UserError
from ppvae.pair.sites import Arrays, Named, Site, latent_sites, recorded_sites, sample_sites, scaled
from ppvae.pair.untouched import device_of, evaluating, unit_of
from ppvae.posterior.handlers import is_observation
from ppvae.posterior.layout import Labels, Names, check_known, log_probs, values
from ppvae.posterior.programs import Draw, Programs
from ppvae.posterior.sources import seed_stream
from ppvae.posterior.trees import check_coords, constants, dataset, labelled, tree_of

__all__ = ["General"]

type Samples = Mapping[str, Any]


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
    seed: int

    def run(self, progress: bool) -> xr.DataTree:
        """Draw everything, one draw after the other, and name it."""
        device = device_of(self.model, self.guide)
        with evaluating(self.model, self.guide, device=device, seed=self.seed), pyro.validation_enabled(False):
            programs = Programs(self.model, self.guide, self.model_args, self.model_kwargs)
            self._check_names(programs.sites)
            names = self.labels.names(programs.event_dims, self.labels.dims)
            draws = []
            for index in tqdm(range(self.num_samples), unit="draw", disable=not progress):
                seed_stream(device, self.seed, index)
                draws.append(self._groups(programs, names))
            example = programs.draw()
        groups = {name: _stacked([draw[name] for draw in draws]) for name in draws[0]}
        if self.observed_data:
            observed = filter(is_observation, map(_blanked, sample_sites(example.trace)))
            groups["observed_data"] = _values(observed, names)
        groups |= self._given(example, names)
        return self._tree({name: group for name, group in groups.items() if group})

    def _check_names(self, sites: set[str]) -> None:
        given = [self.constant_data, self.prior, self.posterior_predictive, self.predictions]
        known = sites.union(*(map(str, names) for names in given if isinstance(names, Mapping | xr.Dataset)))
        check_known("dims", self.labels.dims, known)
        if self.pred_args is None and self.pred_kwargs is None:  # else the model may have other sites there
            check_known("extra_event_dims", self.labels.extra_event_dims, known)

    def _groups(self, programs: Programs, names: Names) -> dict[str, Arrays]:
        """All that one draw gives."""
        draw = programs.draw()
        latents = latent_sites(draw.trace)
        groups: dict[str, Arrays] = {
            "posterior": _values([*latents, *recorded_sites(draw.trace)], names),
            "sample_stats": {"log_p": ((), draw.trace.log_prob_sum()), "log_q": ((), draw.log_q)},
            "log_prior": {site["name"]: _term(site, names) for site in latents},
        }
        if self.log_likelihood:
            observed = filter(is_observation, sample_sites(draw.trace))
            groups["log_likelihood"] = {site["name"]: _term(site, names) for site in observed}
        if self.posterior_predictive is True:
            trace = programs.replicate(draw.values)
            groups["posterior_predictive"] = _values(filter(_was_observed, latent_sites(trace)), names)
        if self.pred_args is not None or self.pred_kwargs is not None:
            sites = programs.predict(draw, self.pred_args or (), self.pred_kwargs or {})
            groups["predictions"] = _values(sites, self.labels.names(programs.event_dims, self.labels.pred_dims))
        if self.prior is True:
            trace = programs.prior()
            sites = [*latent_sites(trace), *recorded_sites(trace)]
            groups["prior"] = _values([site for site in sites if not _was_observed(site)], names)
            groups["prior_predictive"] = _values(filter(_was_observed, sites), names)
        return groups

    def _given(self, draw: Draw, names: Names) -> dict[str, Arrays]:
        """The groups whose samples the user gives, each (draw, *shape of the site) as ``Predictive`` returns them."""
        groups = {"posterior_predictive": self.posterior_predictive, "predictions": self.predictions}
        if isinstance(self.prior, Mapping):
            known = {*draw.values, *(site["name"] for site in recorded_sites(draw.trace))}
            groups["prior"] = {name: v for name, v in self.prior.items() if name in known}
            groups["prior_predictive"] = {name: v for name, v in self.prior.items() if name not in known}
        of_group = {"predictions": Names(self.labels.pred_dims, names.events)}
        return {
            group: {name: _sampled(draw, name, array, of_group.get(group, names)) for name, array in samples.items()}
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
        return tree_of(tree, labels.sample_dims, num_samples=self.num_samples, seed=self.seed)


def _values(sites: Iterable[Site], names: Names) -> Arrays:
    return {site["name"]: values(site, names) for site in sites}


def _term(site: Site, names: Names) -> Named:
    return log_probs(site, scaled(site, site["fn"].log_prob(site["value"])), names)


def _was_observed(site: Site) -> bool:
    return bool(site["infer"].get("was_observed"))


def _blanked(site: Site) -> Site:
    """A site's values with NaN where its mask says that they are missing."""
    mask = site.get("mask")
    if not isinstance(mask, torch.Tensor) or not torch.is_floating_point(site["value"]):
        return site
    mask = mask.reshape(mask.shape + (1,) * site["fn"].event_dim)
    return {**site, "value": torch.where(mask, site["value"], torch.nan)}


def _stacked(draws: list[Arrays]) -> Arrays:
    stacked: Arrays = {}
    for name, (dims, first) in draws[0].items():
        arrays = [draw[name][1] for draw in draws]
        for array in arrays:
            if array.shape != first.shape:
                shapes = f"{tuple(first.shape)} and {tuple(array.shape)}"
                raise UserError(f"site {name!r} came with shapes {shapes}; make it the same in every run")
        stacked[name] = (("draw", *dims), torch.stack(arrays))
    return stacked


def _sampled(draw: Draw, name: str, samples: Any, names: Names) -> Named:
    """Given samples with the dims of their site; of no site, with those named for them."""
    array = torch.as_tensor(samples)
    site = draw.trace.nodes.get(name)
    if site is None:
        dims = names.dims.get(name, [f"{name}_dim_{i}" for i in range(array.dim() - 1)])
        return ("draw", *dims), array
    as_given = {**site["infer"], "_deterministic": True}  # of its own size, whatever the plates' are
    dims, value = values({**site, "infer": as_given, "value": array[0]}, names)
    return ("draw", *dims), array.reshape(len(array), *value.shape)
