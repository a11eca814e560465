"""Images redrawn from their codes, and what each latent is worth: reconstruction and ablation.

All latent sites are set: those that an intervention is not about stay at their posterior. A likelihood without a mean
is shown by draws of one noise (:func:`~ppvae.interventions.shown`), and the attribute ``shown`` says so.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import xarray as xr

from ppvae.diagnostics.contents import chosen_code, group_of
from ppvae.errors import check_choice
from ppvae.interventions.decoding import decoded, joined, labelled, picture
from ppvae.interventions.held import by_latent, data_of, held, images_of, unit_dims
from ppvae.interventions.pictures import mean_of
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
    """
    site = _any_site(tree, site)
    name, data, values = str(images_of(tree).name), data_of(tree), held(tree)
    found = np.array([_scores(model, name, {**values, site: z}, data) for z in _ablated(values[site], tree, site)])
    rises, dims = found[1:] - found[0], unit_dims(tree, site)
    shape = [tree["sample_stats"].sizes[dim] for dim in dims]
    variables = {"worsening": (dims, rises[:, 0].reshape(shape), {"units": "nats per image"})}
    attributes = {"site": site, "images": len(data[0]), "distortion": found[0, 0]}
    if not np.isnan(found[0, 1]):
        relative = (found[1:, 1] / found[0, 1] - 1).reshape(shape)
        variables["relative"] = (dims, relative, {"long_name": "relative rise of the squared error"})
        attributes["squared_error"] = found[0, 1]
    return xr.Dataset(variables, {dim: tree["sample_stats"][dim] for dim in dims}, attributes)


def _any_site(tree: xr.DataTree, site: str | None) -> str:
    if site is None:
        return chosen_code(tree, None)
    check_choice("site", site, list(map(str, group_of(tree, "posterior"))))
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


def _scores(model: Callable, name: str, values: dict[str, torch.Tensor], data: tuple[torch.Tensor, ...]) -> np.ndarray:
    """Mean −log p(x | z) and mean squared error summed over pixels, per image; NaN where there is no mean."""
    return torch.cat(decoded(model, _score, name, values, *data)).double().mean(0).numpy()


def _score(site: Site, images: torch.Tensor, *_inputs: torch.Tensor) -> torch.Tensor:
    log_p = scaled(site, site["fn"].log_prob(images))
    mean = mean_of(site["fn"])
    error = torch.full_like(log_p, torch.nan) if mean is None else (mean - images).square().flatten(1).sum(1)
    return torch.stack([-log_p, error], -1).cpu()
