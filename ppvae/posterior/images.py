"""The posterior of a pair of one image plate: every image its draws and statistics."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
import xarray as xr
from pyro import poutine
from tqdm.auto import tqdm

from ppvae.checks import check_sites
from ppvae.errors import UserError
from ppvae.pair.finite import check_finite
from ppvae.pair.sites import Arrays, event_dims, latent_sites, observed_sites, parameter_of
from ppvae.pair.untouched import evaluating, unit_of
from ppvae.posterior.fingerprints import hashed, probed, weights_of
from ppvae.posterior.image_groups import Wanted, groups_of
from ppvae.posterior.layout import Labels, check_known
from ppvae.posterior.prior_draws import prior_of
from ppvae.posterior.programs import check_trained
from ppvae.posterior.sources import Source, seed_stream
from ppvae.posterior.trees import check_coords, dataset, labelled, tree_of

__all__ = ["Export"]

FEW = 8  # images of the run that checks the pair


@dataclass(frozen=True)
class Export:
    """One call of the export: what is drawn of which images, and how it is named."""

    model: Callable
    guide: Callable
    source: Source
    wanted: Wanted
    constant_data: xr.Dataset | None
    labels: Labels
    batch_size: int = 1024

    def run(self, store: Path | str | None, progress: bool) -> xr.DataTree:
        """The whole tree, in memory or, where a ``store`` is given, on disk and opened lazily."""
        source = self.source
        with (
            evaluating(self.model, self.guide, device=source.device, seed=source.seed),
            pyro.validation_enabled(False),
            tqdm(total=len(source), unit="image", disable=not progress) as bar,
        ):
            mirrored, probe, latents = self._checked()
            if store is None:
                parts = [_counted(part, bar) for part in self._parts(mirrored)]
                return self._tree(parts, self._prior(), latents)
            from ppvae.posterior.streaming import Stream  # here: Zarr is for those who write

            stream = Stream(Path(store), len(source), source.chunk, self._fingerprint(probe))
            if not stream.started:
                first = next(self._parts(mirrored))
                stream.start(self._tree([_hollow(first, len(source))], self._prior(), latents))
            bar.update(stream.done)
            parts = (_counted(part, bar) for part in self._parts(mirrored, stream.done))
            stream.write(parts)
        return stream.opened()

    def _checked(self) -> tuple[Arrays, dict[str, list[float]], dict[str, str | None]]:
        """A run of the pair on the first images: the sites that observe the images themselves, its numbers, and the
        latent sites with the codes that they are parameters of."""
        first, before = self.source.read(0, min(FEW, self.source.chunk, len(self.source))), set(pyro.get_param_store())
        check_finite(self.model, self.guide)  # by its own name, not the trace's
        guide = poutine.trace(self.guide)
        trace = check_sites(self.model, guide, first)[-1]
        images = first[0]
        check_trained(guide.trace, before)
        sites = {site["name"]: (event_dims(site), site["value"]) for site in observed_sites(trace)}
        mirrored = {
            name: (("image", *dims), value)
            for name, (dims, value) in sites.items()
            if value.shape == images.shape and torch.allclose(value, images, rtol=0, atol=0, equal_nan=True)
        }
        latents = {site["name"]: parameter_of(site) for site in latent_sites(guide.trace)}
        for argument, names in (("sites", self.wanted.sites), ("moments", self.wanted.moments)):
            check_known(argument, dict.fromkeys(names if isinstance(names, tuple) else ()), latents)
        return mirrored, probed(guide.trace, trace), latents

    def _parts(self, mirrored: Arrays, start: int = 0) -> Iterator[dict[str, Arrays]]:
        for index, data in enumerate(self.source.chunks(start)):
            try:
                yield groups_of(self.model, self.guide, data, self.wanted, mirrored)
            except (IndexError, RuntimeError, ValueError) as error:
                if index or isinstance(error, UserError | torch.OutOfMemoryError):
                    raise
                raise _unvectorised(error) from error

    def _prior(self) -> tuple[Arrays, dict[str, float | list[float]]] | None:
        if not self.wanted.prior:
            return None
        seed_stream(self.source.device, self.source.seed, 0, 1)  # the chunks' streams are (seed, chunk)
        return prior_of(self.model, self.source.read(0, 1), self.wanted.keeps_draws, at_once=self.batch_size)

    def _tree(
        self,
        parts: list[dict[str, Arrays]],
        prior: tuple[Arrays, dict[str, float | list[float]]] | None,
        latents: Mapping[str, str | None],
    ) -> xr.DataTree:
        units, sample_dims = unit_of(self.model), self.labels.sample_dims
        groups = {name: dataset([part[name] for part in parts], sample_dims, units, name) for name in parts[0]}
        check_coords(self.labels.coords, {dim: size for group in groups.values() for dim, size in group.sizes.items()})
        _note(groups["sample_stats"], "mean", "parameter_of", {site: code for site, code in latents.items() if code})
        if prior is not None:
            _note(groups["sample_stats"], "variance", "prior_variance", prior[1])
            if prior[0] or not latents:
                groups["prior"] = dataset([prior[0]], sample_dims, units, "prior")
        coords = dict(self.labels.coords)
        constant = self._constant()
        if constant is not None:
            groups["constant_data"] = constant.drop_vars("image", errors="ignore")
            if "image" in constant.coords:  # a subset keeps its images' names, factors stay with codes
                coords = {"image": constant["image"].values, **coords}
        coords = {**self.source.columns, **coords}
        groups = {name: labelled(group, coords, self.labels.index_origin) for name, group in groups.items()}
        if "observed_data" in groups:
            groups["observed_data"] = groups["observed_data"].assign_coords(self.source.scaling)
        attributes = {"num_samples": self.wanted.draws, "seed": self.source.seed, "latents": list(latents)}
        if "posterior" not in groups and latents:
            attributes["without_posterior"] = "sites= and moments= of from_pyro_svi keep no draws: name some sites"
        return tree_of(groups, sample_dims, **attributes)

    def _constant(self) -> xr.Dataset | None:
        """What is constant, with the programs' inputs beside the images; their names, in order, are an attribute."""
        given = self.source.given
        if not given:
            return self.constant_data
        constant = xr.Dataset() if self.constant_data is None else self.constant_data
        variables = {
            name: (("image", *(f"{name}_dim_{axis}" for axis in range(values.dim() - 1))), values.cpu().numpy())
            for name, values in given.items()
        }
        same = {name for name in variables if name in constant and constant[name].shape == variables[name][1].shape}
        missing = {name: variable for name, variable in variables.items() if name not in same}
        return constant.assign(missing).assign_attrs(inputs=list(given))

    def _fingerprint(self, probe: dict[str, list[float]]) -> dict[str, Any]:
        """What must be the same for a store to be continued."""
        constant = None if self.constant_data is None else self.constant_data.to_dict()
        return {
            **vars(self.wanted),
            "seed": self.source.seed,
            "images": len(self.source),
            "images per chunk": self.source.chunk,
            "pixels": self.source.fingerprint(),
            "weights": weights_of(self.model, self.guide),
            "probe": probe,
            "labels": hashed(vars(self.labels), constant),
            "torch": torch.__version__,
        }


def _unvectorised(error: Exception) -> UserError:
    """The pair ran on images alone before, so what fails is a run of all draws at once."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return UserError(
        f"the pair takes images and fails under a plate of draws ({reason}): its programs must take leading dims "
        "(draws, image), as z.unflatten(-1, ...) does and z.view(-1, ...) does not; or give "
        "model_args=(images,) instead of images"
    )


def _counted(part: dict[str, Arrays], bar: tqdm) -> dict[str, Arrays]:
    bar.update(_images(part))
    return part


def _images(part: dict[str, Arrays]) -> int:
    dims, array = part["sample_stats"]["log_q"]
    return array.shape[dims.index("image")]


def _note(statistics: xr.Dataset, moment: str, attribute: str, values: Mapping[str, Any]) -> None:
    """Note a value in the attributes of each site's moment, where that is kept."""
    for site, value in values.items():
        if f"{site}_{moment}" in statistics:
            statistics[f"{site}_{moment}"].attrs[attribute] = value


def _hollow(part: dict[str, Arrays], images: int) -> dict[str, Arrays]:
    """A chunk's arrays stretched to all images without any memory: names, dims and types are right, values are not."""

    def stretched(dims: tuple[str, ...], array: torch.Tensor) -> torch.Tensor:
        shape = [images if dim == "image" else size for dim, size in zip(dims, array.shape, strict=True)]
        return torch.zeros((), dtype=array.dtype).expand(shape)

    return {
        name: {variable: (dims, stretched(dims, array)) for variable, (dims, array) in group.items()}
        for name, group in part.items()
    }
