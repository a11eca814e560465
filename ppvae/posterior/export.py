"""The one entry point: from a fitted Pyro pair to a DataTree."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import xarray as xr

from ppvae.checks import check_data, check_kind
from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, check_whole
from ppvae.pair.program import Data
from ppvae.pair.untouched import device_of
from ppvae.posterior.general import General
from ppvae.posterior.image_groups import Wanted
from ppvae.posterior.images import Export
from ppvae.posterior.layout import Labels, check_known
from ppvae.posterior.sources import Source
from ppvae.posterior.trees import constants

__all__ = ["from_pyro_svi"]

IMAGE_DIMS = "with images, dims names constant_data alone, and sites are named by infer={'event_dims': [...]}"
IMAGE_DRAWS, DRAWS = 64, 1000  # of each image; of a general pair, as ArviZ's own converter


def from_pyro_svi(
    model: Callable,
    guide: Callable,
    images: Data | ImageDataset | None = None,
    num_samples: int | None = None,
    *,
    model_args: Sequence[Any] | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    prior: bool | Mapping[str, Any] = True,
    posterior_predictive: bool | Mapping[str, Any] = False,
    predictions: Mapping[str, Any] | None = None,
    pred_args: Sequence[Any] | None = None,
    pred_kwargs: Mapping[str, Any] | None = None,
    constant_data: xr.Dataset | Mapping[str, Any] | None = None,
    predictions_constant_data: xr.Dataset | Mapping[str, Any] | None = None,
    log_likelihood: bool = True,
    observed_data: bool = True,
    index_origin: int | None = None,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    pred_dims: Mapping[str, Sequence[str]] | None = None,
    extra_event_dims: Mapping[str, Sequence[str]] | None = None,
    sample_dims: Sequence[str] = ("chain", "draw"),
    sites: Sequence[str] | None = None,
    moments: bool | Sequence[str] = False,
    batch_size: int = 1024,
    seed: int = 0,
    store: Path | str | None = None,
    progress: bool = False,
) -> xr.DataTree:
    """Draw from a fitted guide and return a DataTree with ArviZ's groups.

    **With** ``images`` (image, C, H, W), a tensor, a tuple of it and what else the programs take of each image, or an
    ``ImageDataset`` with its inputs: a pair of one plate ``image`` at dim −1, each image with its own q(z | x). All
    draws of a few images are made at once. ``posterior``: the latent sites (chain, draw, image, *event dims).
    ``prior``: 1 024 draws of them from p(z). ``log_prior``: log p(z) of each site, and
    ``log_likelihood``: log p(x | z), (chain, draw, image). ``sample_stats``: ``log_p`` = log p(x, z) and ``log_q`` =
    log q(z | x) (chain, draw, image), ``elbo`` (image), ``kl`` (image, latent) in closed form where one is registered,
    the mean and variance of each latent site under q(z | x), and the guide's recorded sites. ``observed_data``.
    ``constant_data``: what is given, for example factors, with their ``image`` coordinate, and the programs' inputs
    beside the images, whose names in order are its attribute ``inputs``. ``posterior_predictive`` on
    request (each draw holds every pixel). ``log_likelihood=False`` ends the model behind its last latent, so that no
    decoder runs, and leaves ``log_prior``, ``log_p`` and ``elbo`` out; ``observed_data`` then holds the sites that
    observe the images themselves.

    Of many or large sites some may be kept. ``sites``: the names of those that are, by default all: their draws and
    moments. Of a site that is left out ``kl_<site>`` stays as one number an image, and its terms of ``log_prior``;
    whatever needs more says so. ``moments``: the names of sites that are kept by mean, variance and KL alone, without
    draws, or True: all that ``sites`` does not name. Memory and disk hold what is kept, and one chunk. The attribute
    ``latents`` names all sites in order.

    **Without**: any pair of programs, called with ``model_args`` and ``model_kwargs``: hand-written guides or
    AutoGuides, messenger guides, global and local latents, nested plates, or none. Each draw is a run of the guide and
    one of the model given it: all at once under an outermost plate where some of them, repeated on their own, are the
    same, else one by one. Discrete sites that only the model has, summed out in training, come from their exact
    posterior given the guide's draw. ``log_q`` is what Pyro's ELBO takes off, auxiliary sites included, less the data
    that a guide meets which runs the model, and under the masks that the model puts on its latents (``obs_mask``).
    ``posterior``: the latent sites and the model's deterministic ones, without a guide's auxiliary ones.
    ``log_prior`` and ``log_likelihood``: of each site over its plates, zero where a mask leaves an observation out;
    ``observed_data`` is NaN there. ``sample_stats``: ``log_p``, ``log_q`` (chain, draw); ``log_p`` alone counts bare
    factors (``pyro.factor``), which are neither prior nor likelihood. ``prior``,
    ``prior_predictive``: as many draws from the model. ``predictions``: the model under ``pred_args`` and
    ``pred_kwargs``: latents whose shape stays keep their draws, all else is drawn. Sites are named by the plates'
    names, then ``infer={"event_dims": [...]}`` and ``extra_event_dims``, else ``<site>_dim_0``; ``dims`` and
    ``pred_dims`` name all dims of a site. ``prior``, ``posterior_predictive`` and ``predictions`` also take samples
    that are already drawn, (draw, ...) by site, as ``pyro.infer.Predictive`` returns them.

    Everything is in nats, under the programs' scales and masks. ``num_samples``: 64 with images, else 1 000.
    ``sample_dims``: ``("chain", "draw")`` with one chain, which ``az.summary`` and ``az.loo`` need, or ``("sample",)``.
    ``batch_size``: images × draws, or draws, at a time, the bound on memory. The modules, the random state and the
    parameter store stay as they were; every chunk of images, or draws, has a random stream of its own, so one ``seed``
    (and ``batch_size``) gives one result. ``progress`` shows a bar.

    ``store``: a Zarr folder to write to, block by block, in bounded memory; the tree returned is read from it lazily.
    After a kill, the same call goes on where it ended, with the numbers of an uninterrupted one.

    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, sites that only one program has,
    subsampled plates, names that fit no dim or site, a guide that was never trained, a store of another call, or
    arguments out of range.
    """
    num_samples = (DRAWS if images is None else IMAGE_DRAWS) if num_samples is None else num_samples
    check_whole("num_samples", num_samples, 1)
    check_whole("batch_size", batch_size, 1)
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise UserError(f"seed={seed!r}: expected a whole number")
    sample_dims = (sample_dims,) if isinstance(sample_dims, str) else tuple(sample_dims)
    if sample_dims not in (("chain", "draw"), ("sample",)):
        raise UserError(f"sample_dims is {sample_dims}; expected ('chain', 'draw') or ('sample',)")
    coords = {dim: list(values) if isinstance(values, tuple) else values for dim, values in (coords or {}).items()}
    named = [
        {name: _several(of) for name, of in (given or {}).items()} for given in (dims, pred_dims, extra_event_dims)
    ]
    labels = Labels(sample_dims, coords, *named, index_origin)
    general = {
        "model_args": model_args,
        "model_kwargs": model_kwargs,
        "predictions": predictions,
        "pred_args": pred_args,
        "pred_kwargs": pred_kwargs,
        "predictions_constant_data": predictions_constant_data,
    }
    if images is not None:
        _check_absent("images", **general, pred_dims=pred_dims, extra_event_dims=extra_event_dims)
        _check_flags(prior=prior, posterior_predictive=posterior_predictive)
        wanted = Wanted(num_samples, log_likelihood, posterior_predictive, observed_data, prior, *_kept(sites, moments))
        source = _source(images, model, guide, max(1, batch_size // num_samples), seed)
        constant = None if constant_data is None else constants(constant_data, labels.dims)
        check_known("dims", labels.dims, () if constant is None else map(str, constant.data_vars), IMAGE_DIMS)
        _check_constant(constant, len(source))
        return Export(model, guide, source, wanted, constant, labels, batch_size).run(store, progress)
    if sites is not None or moments is not False:
        raise UserError("sites= and moments= go with images; of other pairs all sites are kept")
    if store is not None:
        raise UserError(f"store={store!r} goes with images; write the tree of other pairs by write_posterior")
    _check_calls(model_args=model_args, pred_args=pred_args)
    _check_samples(prior=prior, posterior_predictive=posterior_predictive)
    general |= {"model_args": tuple(model_args or ()), "model_kwargs": model_kwargs or {}}
    groups = {"prior": prior, "posterior_predictive": posterior_predictive, "log_likelihood": log_likelihood}
    groups |= {"observed_data": observed_data, "constant_data": constant_data}
    settings = {"labels": labels, "batch_size": batch_size, "seed": seed}
    return General(model, guide, num_samples, **general, **groups, **settings).run(progress)


def _source(data: Data | ImageDataset, model: Any, guide: Any, chunk: int, seed: int) -> Source:
    if isinstance(data, ImageDataset):
        check_kind(model, data)
        check_data(data.arguments(slice(1), seed), model, guide)
        return Source(data, chunk, seed, device_of(model, guide))
    inputs = check_data(data, model, guide)
    return Source(inputs, chunk, seed, device_of(model, guide, inputs[0]))


def _kept(
    sites: Sequence[str] | None, moments: bool | Sequence[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | bool]:
    """Both as :class:`~ppvae.posterior.image_groups.Wanted` has them; UserError for a name in both."""
    named = None if sites is None else tuple(_several(sites))
    alone = moments if isinstance(moments, bool) else tuple(_several(moments))
    for name in set(named or ()) & set(alone or () if isinstance(alone, tuple) else ()):
        raise UserError(f"{name!r} is in sites= and in moments=, which keeps no draws; name it in one of the two")
    return named, alone


def _several(names: Sequence[str] | str) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _check_absent(present: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise UserError(f"{name}= came with {present}; a pair of images takes nothing else, so give one of the two")


def _check_calls(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None and not isinstance(value, tuple | list):
            raise UserError(f"{name} is a {type(value).__name__}; expected the programs' arguments: write {name}=(x,)")


def _check_samples(**groups: Any) -> None:
    for name, value in groups.items():
        if not isinstance(value, bool | Mapping):
            raise UserError(f"{name}={value!r}: expected True, False or samples by site, {{name: (draw, ...)}}")


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise UserError(f"{name} is a {type(value).__name__}; with images it is True or False, and drawn here")


def _check_constant(constant: xr.Dataset | None, images: int) -> None:
    if constant is not None and constant.sizes.get("image", images) != images:
        raise UserError(f"constant_data has {constant.sizes['image']} images, there are {images}")
