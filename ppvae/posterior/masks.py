"""Latents that a model masks: the guide's density of what does not count is left out, too."""

import torch
from pyro import poutine

from ppvae.errors import UserError
from ppvae.pair.sites import Site, latent_sites
from ppvae.posterior.runs import is_point

__all__ = ["masks_of"]


def masks_of(guide_trace: poutine.Trace, model_trace: poutine.Trace) -> dict[str, torch.Tensor]:
    """What counts of the guide's sites, a mask of the batch shape by site, where the model masks a latent.

    A model's entries that are masked, such as the observed ones of ``y_unobserved`` under ``obs_mask``, have no density
    there; what the guide draws for them is noise that says nothing of the rest, and its density would lift
    E[log p − log q] above the evidence.
    Errors: :class:`~ppvae.errors.UserError` for a guide that draws such a site together with others.
    """
    masks = {}
    for site in latent_sites(model_trace):
        drawn = guide_trace.nodes.get(site["name"])
        if drawn is None or site["mask"] is None:
            continue
        mask = torch.as_tensor(site["mask"])
        if not mask.all():
            masks |= dict.fromkeys(_drawing(drawn, guide_trace), mask)
    return masks


def _drawing(site: Site, guide_trace: poutine.Trace) -> list[str]:
    """The guide's sites that make up the density of one: itself, and what an AutoGuide draws behind a point."""
    name, behind = site["name"], f"{site['name']}_unconstrained"
    others = [one["name"] for one in latent_sites(guide_trace) if one["infer"].get("is_auxiliary")]
    if not is_point(site["fn"]) or not others:
        return [name]
    if behind not in others:
        raise UserError(
            f"site {name!r} is masked in the model, and the guide draws it with others at {', '.join(others)}, where "
            "what counts cannot be told apart; use AutoNormal, or draw the site in the guide under the model's mask"
        )
    return [name, behind]
