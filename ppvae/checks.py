"""Checks of a model/guide pair before any training."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pyro import poutine, validation_enabled
from pyro.distributions.util import is_identically_zero
from pyro.infer import ELBO, TraceMeanField_ELBO
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match, check_site_shape
from torch import nn
from torch.distributions import constraints, kl_divergence

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, one_line
from ppvae.networks import Condition
from ppvae.objectives import Objective
from ppvae.pair.finite import check_finite, check_finite_run
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.sites import Site, event_dims, latent_sites, local, observed_sites
from ppvae.pair.untouched import device_of, evaluating, rehearsing

__all__ = [
    "check_data",
    "check_given",
    "check_images",
    "check_kind",
    "check_observed",
    "check_pair",
    "check_sites",
    "check_whole_plates",
    "folded",
]

NAMES = {
    "GreaterThan(lower_bound=0.0)": "positive",
    "GreaterThanEq(lower_bound=0.0)": "positive",  # as torch's Gamma says; zero has no mass
    "Real": "real",
}


def check_images(images: torch.Tensor, *parts: Any) -> None:
    """Raise a one-line :class:`~ppvae.errors.UserError` for images that the networks in ``parts`` cannot take.

    Shapes: images (image, C, H, W), at least one, finite, of the networks' ``image_shape`` and floating type.
    """
    if not isinstance(images, torch.Tensor):
        raise UserError(f"images are a {type(images).__name__}; expected a torch tensor (image, channel, row, column)")
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise UserError(f"images have shape {shape}; expected (image, channel, row, column)")
    if shape[0] == 0:
        raise UserError("there are no images; expected at least one")
    for expected in sorted({m.image_shape for part in parts for m in _networks(part)}):
        if shape[1:] != expected:
            raise UserError(f"images have shape {shape[1:]}; the pair's networks were built for {expected}")
    for dtype in {parameter.dtype for part in parts for parameter in _parameters(part)[:1]}:
        if images.dtype != dtype:
            raise UserError(f"images are {images.dtype}, the pair's parameters {dtype}; convert the images")
    if not torch.isfinite(images).all():
        bad = int((~torch.isfinite(images.flatten(1)).all(1)).sum())
        raise UserError(f"{bad} of {shape[0]} images hold NaN or infinite pixels; remove or repair them")
    _check_range(images, *parts)


def _check_range(images: torch.Tensor, *parts: Any) -> None:
    """UserError for pixels further than half a range from all means that the likelihood can give: noise about an image
    stays within, images of another range do not."""
    for low, high in {m.mean_range for part in parts for m in _modules(part) if hasattr(m, "mean_range")}:
        least, most = images.min().item(), images.max().item()
        if least < low - (high - low) / 2 or most > high + (high - low) / 2:
            raise UserError(
                f"pixels are in [{least:.4g}, {most:.4g}], the likelihood's means in [{low:g}, {high:g}]; scale the "
                "images to that range, or choose another likelihood"
            )


def check_data(data: Data | ImageDataset, *parts: Any, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """What programs are called with, checked: the images as :func:`check_images` does, and as many of each other input.

    ``data``: images (image, C, H, W), a tuple of them and further inputs (image, ...), or a data set with its inputs,
    whose conversion draws by ``seed``.
    Errors: one-line :class:`~ppvae.errors.UserError`.
    """
    if isinstance(data, ImageDataset):
        for part in parts:
            check_kind(part, data)
    inputs = data.arguments(seed=seed) if isinstance(data, ImageDataset) else inputs_of(data)
    if not inputs:
        raise UserError("data is an empty tuple; expected images, then what else the programs take")
    check_images(inputs[0], *parts)
    check_given(inputs[1:], len(inputs[0]))
    return inputs


def check_given(given: Sequence[Any], images: int) -> None:
    """UserError unless each input beside the images is a tensor with a finite row for each of them."""
    for place, values in enumerate(given, start=2):
        if not isinstance(values, torch.Tensor):
            raise UserError(f"input {place} is a {type(values).__name__}; expected a torch tensor (image, ...)")
        if values.dim() == 0 or len(values) != images:
            raise UserError(
                f"input {place} has shape {tuple(values.shape)}, there are {images} images; give one row an image"
            )
        if not torch.isfinite(values).all():
            raise UserError(f"input {place} holds NaN or infinite values; remove or repair them")


def check_pair(
    model: Callable, guide: Callable, data: Data | ImageDataset, objective: Objective | ELBO | None = None
) -> None:
    """Raise a one-line :class:`~ppvae.errors.UserError` where model and guide do not fit each other.

    Looks for sites that only one side has, for shapes, supports or orders that differ, for images that the networks
    cannot take or the likelihood refuses, and for an ``objective`` (ours, or Pyro's mean-field ELBO) that the pair does
    not allow. Refuses what Pyro's own SVI refuses under validation, in evaluation and in training mode. Runs the
    programs on the data given: images (image, C, H, W), or a tuple of them and what else the programs take; the random
    state, parameters, buffers and attributes stay as they were.
    """
    inputs = check_data(data, model, guide)
    device = device_of(model, guide, inputs[0])
    inputs = tuple(values.to(device) for values in inputs)
    with evaluating(model, guide, device=device):
        drawn, wanted, model_trace = _shared_sites(model, guide, inputs)
        for name in wanted:
            _check_site(name, drawn[name], wanted[name])
        _check_observations(model_trace)
        _check_validated(model, guide, inputs, "evaluation")
        if isinstance(objective, TraceMeanField_ELBO):
            _check_reparameterised(drawn)
        if isinstance(objective, TraceMeanField_ELBO) or getattr(objective, "estimator", None) == "mean_field":
            _check_mean_field(drawn, wanted)
        if isinstance(objective, Objective):
            _check_by_image(guide, inputs, drawn, model_trace)
            objective.check(drawn, wanted)
    if len(inputs[0]) > 1:  # of one alone, batch statistics are none
        with rehearsing(model, guide, device=device):
            _check_validated(model, guide, inputs, "training")


def check_kind(model: Any, data: ImageDataset) -> None:
    """UserError where the model's likelihood is no density of the data's kind: binary, 8-bit or real pixels.

    A likelihood says of which kinds it is one (``kinds``), or that it is a ``surrogate``, which marks its numbers.
    """
    likelihood = getattr(model, "likelihood", None)
    kinds = getattr(likelihood, "kinds", None)
    if kinds is None or data.kind in kinds or getattr(likelihood, "surrogate", False):
        return
    remedy = "choose a likelihood of these"
    if "binary" in kinds:
        remedy = "binarise them (binarise='dynamic') or choose another likelihood"
    if hasattr(likelihood, "surrogate"):
        remedy += ", or accept cross-entropies marked as such (surrogate=True)"
    raise UserError(
        f"{type(likelihood).__name__} is a density of {' or '.join(sorted(kinds))} pixels, no other; "
        f"these are {data.kind} ({data.description}): {remedy}"
    )


def check_sites(model: Callable, guide: Callable, data: Data) -> tuple[dict[str, Site], dict[str, Site], poutine.Trace]:
    """Run both programs; UserError for a latent site that only one has, or one that is not drawn image by image.

    Returns the guide's and the model's latent sites by name, and the model's trace.
    """
    inputs = inputs_of(data)
    drawn, wanted, model_trace = _shared_sites(model, guide, inputs)
    for name in wanted:
        _check_masks(drawn[name], wanted[name])
    _check_observations(model_trace)
    for program, sites in (("guide", drawn.values()), ("model", [*wanted.values(), *observed_sites(model_trace)])):
        for site in sites:
            _check_batch(site, program, len(inputs[0]))
    return drawn, wanted, model_trace


def check_whole_plates(*traces: poutine.Trace, batches: bool = False) -> None:
    """UserError for a plate that subsamples: each draw would be of other data.

    ``batches``: the plate of images, at dim −1, may hold a batch of them, whose terms are of each image all the same.
    """
    for trace in traces:
        dims = {f.name: f.dim for site in trace.nodes.values() for f in site.get("cond_indep_stack", ())}
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or type(site["fn"]).__name__ != "_Subsample":
                continue
            if len(site["value"]) < site["fn"].size and not (batches and dims.get(name) == -1):
                raise UserError(
                    f"plate {name!r} subsamples {len(site['value'])} of {site['fn'].size}, and each draw would be of "
                    "other data; make it whole: subsample_size=None, all data given"
                )


def _shared_sites(
    model: Callable, guide: Callable, inputs: tuple[torch.Tensor, ...]
) -> tuple[dict[str, Site], dict[str, Site], poutine.Trace]:
    check_finite(model, guide)
    with validation_enabled(False), folded("the pair fails"):
        guide_trace = _run("guide", guide, inputs)
        model_trace = _run("model", model, inputs)
    check_finite_run(guide_trace, model_trace)
    check_whole_plates(guide_trace, model_trace, batches=True)
    drawn = {site["name"]: site for site in latent_sites(guide_trace) if not site["infer"].get("is_auxiliary")}
    wanted = {site["name"]: site for site in latent_sites(model_trace)}
    _check_same_sites(drawn, wanted)
    _check_dims([*drawn.values(), *wanted.values()])
    return drawn, wanted, model_trace


@contextmanager
def folded(what: str) -> Iterator[None]:
    """UserError in one line for what torch or Pyro raises inside."""
    try:
        yield
    except (IndexError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        if isinstance(error, UserError):  # to which Pyro adds the shapes of all sites
            raise UserError(one_line(error, 380)) from None
        raise UserError(f"{what}: {one_line(error)}") from error


def _run(name: str, program: Callable, inputs: tuple[torch.Tensor, ...]) -> poutine.Trace:
    """The program's trace; UserError where it, or a network in it, takes another number of inputs."""
    try:
        return poutine.trace(program).get_trace(*inputs)
    except TypeError as error:
        if "positional argument" not in str(error):
            raise
        count = "images alone" if len(inputs) == 1 else f"images and {len(inputs) - 1} more"
        raise UserError(f"the {name} was called with {count}: {error}; give what it takes, images first") from error


def _check_by_image(
    guide: Callable, inputs: tuple[torch.Tensor, ...], drawn: dict[str, Site], model_trace: poutine.Trace
) -> None:
    """UserError where terms are not of each image: the model's observations, or a site that holds all images' codes."""
    images = len(inputs[0])
    for site in observed_sites(model_trace):
        _check_batch(site, "model", images)
    shared = [site for site in drawn.values() if not local(site)]
    if not shared or images == 1:
        return
    of_one = poutine.trace(guide).get_trace(*(values[:1] for values in inputs))
    for site in shared:
        if of_one.nodes[site["name"]]["fn"].event_shape != site["fn"].event_shape:
            _check_batch(site, "guide", images)


def _check_validated(model: Callable, guide: Callable, inputs: tuple[torch.Tensor, ...], mode: str) -> None:
    """UserError for what Pyro's SVI refuses under validation: what is no distribution, or not in its plates."""
    with validation_enabled(True), warnings.catch_warnings(), folded(f"Pyro refuses the pair in {mode} mode"):
        warnings.simplefilter("ignore")  # of sites that only one program has, which are told above
        guide_trace = poutine.trace(guide).get_trace(*inputs)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*inputs)
        check_model_guide_match(model_trace, guide_trace)
        for trace in map(prune_subsample_sites, (model_trace, guide_trace)):
            trace.compute_log_prob()
            for site in trace.nodes.values():
                if site["type"] == "sample":
                    check_site_shape(site, math.inf)


def _check_batch(site: Site, program: str, images: int) -> None:
    shape = tuple(site["fn"].batch_shape)
    if shape != (images,):
        raise UserError(
            f"site {site['name']!r} of the {program} has batch shape {shape}; expected ({images},), one of each image: "
            "put it into pyro.plate('image', len(images), dim=-1), with all other dims in .to_event(...), or export by "
            "from_pyro_svi(..., model_args=(images,))"
        )


def _check_same_sites(drawn: dict[str, Site], wanted: dict[str, Site]) -> None:
    for name in wanted.keys() - drawn.keys():
        raise UserError(f"site {name!r} is in the model but not in the guide ({_listed(drawn)}); draw it in the guide")
    for name in drawn.keys() - wanted.keys():
        raise UserError(
            f"site {name!r} is in the guide but not in the model ({_listed(wanted)}); "
            "choose a prior that draws it or a guide without it, or mark it infer={'is_auxiliary': True}"
        )


def _check_dims(sites: list[Site]) -> None:
    """UserError where two sites give one name to event dims of different sizes."""
    sizes: dict[str, tuple[int, str]] = {}
    for site in sites:
        for dim, size in zip(event_dims(site), site["fn"].event_shape, strict=False):
            known, first = sizes.setdefault(dim, (size, site["name"]))
            if known != size and first != site["name"]:
                raise UserError(
                    f"dim {dim!r} has {known} entries at site {first!r} and {size} at site {site['name']!r}; "
                    "give their event_dims different names"
                )


def _check_site(name: str, drawn: Site, wanted: Site) -> None:
    q, p = drawn["fn"], wanted["fn"]
    for what, of_guide, of_model in (
        ("event shape", tuple(q.event_shape), tuple(p.event_shape)),
        ("batch shape", tuple(q.batch_shape), tuple(p.batch_shape)),
    ):
        if of_guide != of_model:
            raise UserError(f"site {name!r} has {what} {of_guide} in the guide but {of_model} in the model")
    if not _same_support(q.support, p.support):
        raise UserError(
            f"site {name!r} has support {_named(q.support)} in the guide but {_named(p.support)} in the model; "
            "use a guide distribution on the model's support"
        )
    _check_masks(drawn, wanted)


def _check_masks(drawn: Site, wanted: Site) -> None:
    """UserError where only one program leaves some of a site's entries out."""
    q, p = (torch.as_tensor(True if site["mask"] is None else site["mask"]) for site in (drawn, wanted))
    if not torch.equal(*torch.broadcast_tensors(q, p)):
        raise UserError(
            f"site {drawn['name']!r} has one mask in the guide and another in the model, so that its KL would count "
            "what one of them leaves out; put it under the same pyro.poutine.mask in both"
        )


def _check_observations(model_trace: poutine.Trace) -> None:
    observed = observed_sites(model_trace)
    if not observed:
        raise UserError("the model observes nothing; give its likelihood's site obs=images")
    for site in observed:
        distribution, value = site["fn"], site["value"]
        if distribution.shape() != value.shape:
            raise UserError(
                f"site {site['name']!r} observes values of shape {tuple(value.shape)}, its distribution has "
                f"{tuple(distribution.shape())}"
            )
        check_observed(site)


def check_observed(site: Site) -> None:
    """UserError for observed values, masked ones left out, outside the support of their distribution."""
    distribution, value = site["fn"], site["value"]
    try:
        inside = distribution.support.check(value)
    except NotImplementedError:  # a distribution that does not tell
        return
    seen = torch.as_tensor(True if site["mask"] is None else site["mask"])
    if not (inside | ~seen).all():
        base = getattr(distribution, "base_dist", distribution)
        raise UserError(
            f"site {site['name']!r}: some values in [{value.min():.3g}, {value.max():.3g}] are outside the support "
            f"of {type(base).__name__} ({_named(distribution.support)}); choose another likelihood"
        )


def _check_reparameterised(drawn: dict[str, Site]) -> None:
    for name, site in drawn.items():
        if not is_identically_zero(site["fn"].score_parts(site["value"]).score_function):
            raise UserError(
                f"TraceMeanField_ELBO drops the score function of site {name!r}, which is not fully reparameterised; "
                "use BetaELBO() or Trace_ELBO()"
            )


def _check_mean_field(drawn: dict[str, Site], wanted: dict[str, Site]) -> None:
    if list(drawn) != list(wanted):
        raise UserError(
            f"mean_field needs one order of sites; the guide draws {_listed(drawn)}, the model {_listed(wanted)}: "
            "reorder one of them or use BetaELBO(estimator='trace')"
        )
    for name, site in drawn.items():
        q, p = site["fn"], wanted[name]["fn"]
        try:
            kl_divergence(q, p)
        except NotImplementedError:
            q, p = (type(getattr(d, "base_dist", d)).__name__ for d in (q, p))
            raise UserError(
                f"mean_field needs a closed-form KL at site {name!r}; none is registered for {q} and {p}: "
                "use BetaELBO(estimator='trace'), objective.estimator=trace"
            ) from None


def _same_support(first: Any, second: Any) -> bool:
    first, second = (repr(_base_constraint(constraint)).removesuffix("()") for constraint in (first, second))
    return NAMES.get(first, first) == NAMES.get(second, second)


def _base_constraint(constraint: Any) -> Any:
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    return constraint


def _named(constraint: Any) -> str:
    base = _base_constraint(constraint)
    name = repr(base).removesuffix("()")
    return NAMES.get(name, name) if len(name) < 60 and "\n" not in name else type(base).__name__


def _listed(sites: dict[str, Site], most: int = 6) -> str:
    names, more = list(map(repr, sites)), len(sites) - most
    return (", ".join(names[:most]) or "no sites") + (f" and {more} more" if more > 0 else "")


def _parameters(part: Any) -> list[nn.Parameter]:
    return list(part.parameters()) if isinstance(part, nn.Module) else []


def _networks(part: Any) -> list[nn.Module]:
    """Those that see the images themselves, and not another input."""
    modules = _modules(part)
    aside = {inner for m in modules if isinstance(m, Condition) for inner in m.modules()}
    return [m for m in modules if hasattr(m, "image_shape") and m not in aside]


def _modules(part: Any) -> list[nn.Module]:
    return list(part.modules()) if isinstance(part, nn.Module) else []
