"""Images redrawn from their codes, and what each latent is worth: reconstruction and ablation.

All latent sites are set: those that an intervention is not about stay at their posterior. A likelihood without a mean
is shown by draws of one noise (:func:`~ppvae.interventions.shown`), and the attribute ``shown`` says so.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import xarray as xr

from ppvae.diagnostics.contents import chosen_code
from ppvae.distributions.means import mean_of
from ppvae.errors import check_choice
from ppvae.interventions.decoding import Values, decoded, dependent, in_parts, joined, labelled, picture, sites_before
from ppvae.interventions.held import by_latent, data_of, held, images_of, latents_of, unit_dims
from ppvae.pair.sites import Site, scaled

__all__ = ["ablate", "reconstruct"]


def reconstruct(model: Callable, tree: xr.DataTree, *, draw: int | None = None) -> xr.DataArray:
    """Mean of p(x | z) at the posterior means of all latent sites, or at one ``draw`` of them, for each image.

    Returns (image, channel, row, column). Discrete sites are held at their most probable value.
    Errors: :class:`~ppvae.errors.UserError` for a tree that is not of this model's images.
    """
    observed = images_of(tree)
    parts = decoded(model, picture, str(observed.name), held(tree, draw), *data_of(tree))
    return labelled(joined(parts), ("image",), {"image": observed["image"]})


def ablate(model: Callable, tree: xr.DataTree, *, site: str | None = None) -> xr.Dataset:
    """How much worse each image is drawn when one latent is replaced by its mean over the images.

    ``site``: whose latents; by default the only code. A latent of a site of maps is a whole feature map, a discrete
    site one latent, replaced by its most frequent value. Returns over the site's first dim: ``worsening``, the rise of
    −log p(x | z) in nats per image, and ``relative``, the squared error with the latent ablated over the squared error
    without, minus one (left out where the likelihood has no mean). Everything else is at the posterior means.

    Of a site that other codes depend on, as z_1 on z_2, the worsening counts their density too, −log p(x, z_1 | z_2),
    without which it would be zero; ``relative`` is left out, and the attribute ``dependent`` names them.
    """
    site = _any_site(tree, site)
    name, data, values = str(images_of(tree).name), data_of(tree), held(tree)
    below = dependent(model, name, site, values, *data)

    def scores(given: Values) -> torch.Tensor:
        def run(part: Values, *inputs: torch.Tensor) -> torch.Tensor:
            return _score(sites_before(model, name, part, *inputs), below, inputs[0])

        return torch.cat(in_parts(model, run, given, *data)).double().mean(0)

    found = torch.stack([scores({**values, site: z}) for z in _ablated(values[site], tree, site)]).numpy()
    rises, dims = found[1:] - found[0], unit_dims(tree, site)
    shape = [tree["sample_stats"].sizes[dim] for dim in dims]
    worsening = rises[:, :2].sum(1).reshape(shape)
    variables = {"worsening": (dims, worsening, {"units": "nats per image"})}
    attributes = {"site": site, "images": len(data[0]), "distortion": found[0, 0], "dependent": below}
    if not (below or np.isnan(found[0, 2])):
        relative = (found[1:, 2] / found[0, 2] - 1).reshape(shape)
        variables["relative"] = (dims, relative, {"long_name": "relative rise of the squared error"})
        attributes["squared_error"] = found[0, 2]
    return xr.Dataset(variables, {dim: tree["sample_stats"][dim] for dim in dims}, attributes)


def _any_site(tree: xr.DataTree, site: str | None) -> str:
    if site is None:
        return chosen_code(tree, None)
    check_choice("site", site, latents_of(tree))
    return site


def _ablated(values: torch.Tensor, tree: xr.DataTree, site: str) -> Iterator[torch.Tensor]:
    """The site's values as they are, then with each latent in turn the same for all images."""
    yield values
    if f"{site}_mode" in tree["sample_stats"]:
        kinds, counts = values.unique(dim=0, return_counts=True)
        yield kinds[counts.argmax()].expand_as(values)
        return
    for latent in range(by_latent(values).shape[1]):
        ablated = by_latent(values).clone()
        ablated[:, latent] = ablated[:, latent].mean(0)
        yield ablated.reshape(values.shape)


def _score(sites: list[Site], below: list[str], images: torch.Tensor) -> torch.Tensor:
    """−log p(x | z), −log p of the sites ``below`` and the squared error summed over observed pixels, each image's; NaN
    where there is no mean."""
    *latents, observed = sites
    log_p, mean = scaled(observed, observed["fn"].log_prob(images)), mean_of(observed["fn"])
    others = sum(
        (scaled(s, s["fn"].log_prob(s["value"])) for s in latents if s["name"] in below), torch.zeros_like(log_p)
    )
    error = torch.full_like(log_p, torch.nan) if mean is None else (mean - images).square().flatten(1).nansum(1)
    return torch.stack([-log_p, -others, error], -1).cpu()
