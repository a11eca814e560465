"""Do a guide's and a model's sites fit each other, and the values that they observe?"""

from typing import Any

import torch
from pyro import poutine
from torch.distributions import constraints

from ppvae.errors import UserError
from ppvae.pair.sites import Site, event_dims, local, observed_sites

__all__ = [
    "check_batch",
    "check_dims",
    "check_masks",
    "check_observations",
    "check_observed",
    "check_same_sites",
    "check_site",
    "check_whole_plates",
    "listed",
]

NAMES = {
    "GreaterThan(lower_bound=0.0)": "positive",
    "GreaterThanEq(lower_bound=0.0)": "positive",  # as torch's Gamma says; zero has no mass
    "Real": "real",
}
OF_BOTH = {"precision": ("normal_gamma", "normal_gamma")}  # prior and guide that draw a site of this name
SHARED = {"precision": ("ard", "ard")}  # that draw it once for all images
OF_BOTH |= {"gate": ("spike_and_slab", "spike_and_slab")}
OF_BOTH |= dict.fromkeys(("z_1", "z_2"), ("autoregressive_map", "bottom_up"))


def check_same_sites(drawn: dict[str, Site], wanted: dict[str, Site]) -> None:
    for name in wanted.keys() - drawn.keys():
        pair = _of_both(wanted[name])
        known = f", as guide={pair[1]} does" if pair else ""
        raise UserError(
            f"site {name!r} is in the model but not in the guide ({listed(drawn)}); draw it in the guide{known}"
        )
    for name in drawn.keys() - wanted.keys():
        pair = _of_both(drawn[name])
        known = f", as prior={pair[0]} does," if pair else ""
        raise UserError(
            f"site {name!r} is in the guide but not in the model ({listed(wanted)}); "
            f"choose a prior that draws it{known} or a guide without it, or mark it infer={{'is_auxiliary': True}}"
        )


def _of_both(site: Site) -> tuple[str, str] | None:
    """The house's prior and guide that both draw such a site."""
    return (OF_BOTH if local(site) else SHARED).get(site["name"])


def check_dims(sites: list[Site]) -> None:
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


def check_batch(site: Site, program: str, images: int) -> None:
    shape = tuple(site["fn"].batch_shape)
    if shape != (images,):
        raise UserError(
            f"site {site['name']!r} of the {program} has batch shape {shape}; expected ({images},), one of each image: "
            "put it into pyro.plate('image', len(images), dim=-1), with all other dims in .to_event(...), or export by "
            "from_pyro_svi(..., model_args=(images,))"
        )


def check_site(name: str, drawn: Site, wanted: Site) -> None:
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
    check_masks(drawn, wanted)


def check_masks(drawn: Site, wanted: Site) -> None:
    """UserError where only one program leaves some of a site's entries out."""
    q, p = (torch.as_tensor(True if site["mask"] is None else site["mask"]) for site in (drawn, wanted))
    if not torch.equal(*torch.broadcast_tensors(q, p)):
        raise UserError(
            f"site {drawn['name']!r} has one mask in the guide and another in the model, so that its KL would count "
            "what one of them leaves out; put it under the same pyro.poutine.mask in both"
        )


def check_observations(model_trace: poutine.Trace) -> None:
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
        base, there = getattr(distribution, "base_dist", distribution), value[~value.isnan()]
        raise UserError(
            f"site {site['name']!r}: some values in [{there.min():.3g}, {there.max():.3g}] are outside the support "
            f"of {type(base).__name__} ({_named(distribution.support)}); choose another likelihood"
        )


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


def listed(sites: dict[str, Site], most: int = 6) -> str:
    names, more = list(map(repr, sites)), len(sites) - most
    return (", ".join(names[:most]) or "no sites") + (f" and {more} more" if more > 0 else "")
