"""Checks of a model/guide pair before any training."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro import poutine, validation_enabled
from pyro.distributions.util import is_identically_zero
from pyro.infer import ELBO, TraceMeanField_ELBO
from torch import nn
from torch.distributions import constraints, kl_divergence

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError
from ppvae.networks import Condition
from ppvae.objectives import Objective
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.sites import Site, event_dims, latent_sites, observed_sites
from ppvae.pair.untouched import device_of, evaluating

__all__ = [
    "check_data",
    "check_given",
    "check_images",
    "check_kind",
    "check_pair",
    "check_sites",
    "check_whole_plates",
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


def check_data(data: Data | ImageDataset, *parts: Any, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """What programs are called with, checked: the images as :func:`check_images` does, and as many of each other input.

    ``data``: images (image, C, H, W), a tuple of them and further inputs (image, ...), or a data set with its inputs,
    whose conversion draws by ``seed``.
    Errors: one-line :class:`~ppvae.errors.UserError`.
    """
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
    not allow. Runs each program once, on the data given: images (image, C, H, W), or a tuple of them and what else the
    programs take; the random state and the parameters stay as they were.
    """
    inputs = check_data(data, model, guide)
    device = device_of(model, guide, inputs[0])
    inputs = tuple(values.to(device) for values in inputs)
    with evaluating(model, guide, device=device):
        drawn, wanted, model_trace = _shared_sites(model, guide, inputs)
        for name in wanted:
            _check_site(name, drawn[name]["fn"], wanted[name]["fn"])
        _check_observations(model_trace)
        if isinstance(objective, TraceMeanField_ELBO):
            _check_reparameterised(drawn)
        if isinstance(objective, TraceMeanField_ELBO) or getattr(objective, "estimator", None) == "mean_field":
            _check_mean_field(drawn, wanted)
        if isinstance(objective, Objective):
            objective.check(drawn, wanted)


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
    for program, sites in (("guide", drawn.values()), ("model", [*wanted.values(), *observed_sites(model_trace)])):
        for site in sites:
            _check_batch(site, program, len(inputs[0]))
    return drawn, wanted, model_trace


def check_whole_plates(*traces: poutine.Trace) -> None:
    """UserError for a plate that subsamples: each draw would be of other data, and each term scaled to all data."""
    for trace in traces:
        for name, site in trace.nodes.items():
            plate = site["type"] == "sample" and type(site["fn"]).__name__ == "_Subsample"
            if plate and len(site["value"]) < site["fn"].size:
                raise UserError(
                    f"plate {name!r} subsamples {len(site['value'])} of {site['fn'].size}, so that its terms are not "
                    "those of the data given; make it whole: its size the data's, no subsample_size"
                )


def _shared_sites(
    model: Callable, guide: Callable, inputs: tuple[torch.Tensor, ...]
) -> tuple[dict[str, Site], dict[str, Site], poutine.Trace]:
    with validation_enabled(False):
        guide_trace = _run("guide", guide, inputs)
        model_trace = _run("model", model, inputs)
    drawn = {site["name"]: site for site in latent_sites(guide_trace) if not site["infer"].get("is_auxiliary")}
    wanted = {site["name"]: site for site in latent_sites(model_trace)}
    _check_same_sites(drawn, wanted)
    _check_dims([*drawn.values(), *wanted.values()])
    return drawn, wanted, model_trace


def _run(name: str, program: Callable, inputs: tuple[torch.Tensor, ...]) -> poutine.Trace:
    """The program's trace; UserError where it, or a network in it, takes another number of inputs."""
    try:
        return poutine.trace(program).get_trace(*inputs)
    except UserError as error:  # to which Pyro adds the shapes of all sites
        raise UserError(str(error).splitlines()[0]) from None
    except TypeError as error:
        if "positional argument" not in str(error):
            raise
        count = "images alone" if len(inputs) == 1 else f"images and {len(inputs) - 1} more"
        raise UserError(f"the {name} was called with {count}: {error}; give what it takes, images first") from error


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


def _check_site(name: str, q: Any, p: Any) -> None:
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
        if not distribution.support.check(value).all():
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
    first, second = _base_constraint(first), _base_constraint(second)
    return _named(first) == _named(second)


def _base_constraint(constraint: Any) -> Any:
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    return constraint


def _named(constraint: Any) -> str:
    name = repr(_base_constraint(constraint)).removesuffix("()")
    return NAMES.get(name, name)


def _listed(sites: dict[str, Site]) -> str:
    return ", ".join(map(repr, sites)) or "no sites"


def _parameters(part: Any) -> list[nn.Parameter]:
    return list(part.parameters()) if isinstance(part, nn.Module) else []


def _networks(part: Any) -> list[nn.Module]:
    """Those that see the images themselves, and not another input."""
    if not isinstance(part, nn.Module):
        return []
    aside = {inner for m in part.modules() if isinstance(m, Condition) for inner in m.modules()}
    return [m for m in part.modules() if hasattr(m, "image_shape") and m not in aside]
