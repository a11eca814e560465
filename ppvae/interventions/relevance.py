"""What each latent is worth by the decoder's own slope: the axis of relevance of automatic relevance determination."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import xarray as xr
from torch.autograd import forward_ad

from ppvae.diagnostics.contents import chosen_code
from ppvae.distributions.means import mean_of
from ppvae.errors import UserError
from ppvae.interventions.decoding import Values, decoded, dependent
from ppvae.interventions.held import by_latent, data_of, held, images_of, unit_dims
from ppvae.pair.sites import Site

__all__ = ["relevance"]

SEED = 0  # of the signs that a feature map is moved by


def relevance(model: Callable, tree: xr.DataTree, *, site: str | None = None) -> xr.Dataset:
    """Mean squared Jacobian of the mean of p(x | z) in each latent × the latent's prior variance.

    relevance_l = v_l · E_x ‖∂ E[x | z] / ∂z_l‖², the variance in squared pixel values, summed over pixels, that the
    latent gives to an image to first order; whatever units a decoder and its prior count z_l in, it is the same.
    v_l is ``model.prior.variance`` where the prior has one of each latent, as
    :class:`~ppvae.priors.ARDPrior` does; of other priors, under which an idle latent is as wide as one in use, it is
    the variance of the codes, E[σ²(x)] + Var[μ(x)] over the tree's images. The attribute ``variance_of`` says which.

    Returns over the site's first dim ``jacobian``, the mean squared Jacobian, ``variance`` and ``relevance``. ``site``:
    by default the only code. All is at the posterior means of the images. A feature map is one latent, moved by one
    random sign an entry in each image, whose squared slope is unbiased, times the mean variance of its entries.

    Errors: :class:`~ppvae.errors.UserError` for a likelihood without a mean, and for a site that other codes depend on.
    Source: Saha, Joshi and Whitaker 2025, "ARD-VAE: a statistical formulation to find the relevant latent dimensions of
    variational autoencoders".3.
    """
    site = chosen_code(tree, site)
    name, data, values = str(images_of(tree).name), data_of(tree), held(tree)
    _check_read_alone(dependent(model, name, site, values, *data), site)
    squares = torch.stack([_squared_slope(model, name, site, values, signs, *data) for signs in _signs(values[site])])
    variance, of = _variances(model, tree, site)
    (dim,) = unit_dims(tree, site) or ("latent",)
    jacobian = squares.numpy()
    units = {"units": "squared pixel values"}
    return xr.Dataset(
        {
            "jacobian": (dim, jacobian, {"long_name": "mean squared Jacobian of the decoder's mean, over pixels"}),
            "variance": (dim, variance, {"units": "latent squared"}),
            "relevance": (dim, jacobian * variance, {"long_name": "squared Jacobian × variance", **units}),
        },
        {dim: tree["sample_stats"][dim]} if dim in tree["sample_stats"].dims else {},
        {"site": site, "images": len(data[0]), "variance_of": of},
    )


def _check_read_alone(below: list[str], site: str) -> None:
    if below:
        raise UserError(
            f"the codes {', '.join(below)} depend on {site}, whose worth is theirs too, not the decoder's slope alone; "
            "use ablate, which counts their density"
        )


def _signs(values: torch.Tensor) -> Iterator[torch.Tensor]:
    """By latent, the direction that each image's values are moved in: the latent itself, or ±1 over a feature map."""
    entries = by_latent(values)
    generator = torch.Generator().manual_seed(SEED)
    signs = torch.randint(0, 2, entries.shape, generator=generator).to(entries) * 2 - 1 if entries.shape[2] > 1 else 1.0
    for latent in range(entries.shape[1]):
        direction = torch.zeros_like(entries)
        direction[:, latent] = 1.0
        yield (direction * signs).reshape(values.shape)


def _squared_slope(
    model: Callable, name: str, site: str, values: Values, direction: torch.Tensor, *data: torch.Tensor
) -> torch.Tensor:
    """‖∂ E[x | z] / ∂(direction)‖², mean over the images, in float64."""

    def slopes(observed: Site, *_data: torch.Tensor) -> torch.Tensor:
        mean = mean_of(observed["fn"])
        if mean is None:
            kind = type(getattr(observed["fn"], "base_dist", observed["fn"])).__name__
            raise UserError(f"relevance needs a mean of p(x | z), {kind} has none; use ablate, which needs none")
        tangent = forward_ad.unpack_dual(mean).tangent
        slope = torch.zeros_like(mean) if tangent is None else tangent
        return slope.double().square().flatten(1).sum(1).cpu()

    with _forward_mode():
        moved = {**values, site: forward_ad.make_dual(values[site], direction)}
        return torch.cat(decoded(model, slopes, name, moved, *data)).mean()


@contextmanager
def _forward_mode() -> Iterator[None]:
    """Forward-mode derivatives, on whose first use torch warns of its own use of ``torch.jit.script``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        with forward_ad.dual_level():
            yield


def _variances(model: Callable, tree: xr.DataTree, site: str) -> tuple[np.ndarray, str]:
    """Of each latent, (latent,), and whose it is: ``prior`` or ``codes``."""
    own = getattr(getattr(model, "prior", None), "variance", None)
    if own is not None:
        return own.detach().double().cpu().numpy(), "prior"
    stats, (dim,) = tree["sample_stats"].to_dataset(), unit_dims(tree, site) or ("latent",)
    mean, variance = (stats[f"{site}_{moment}"].astype(float) for moment in ("mean", "variance"))
    whole = variance.mean("image") + mean.var("image")
    return np.atleast_1d(whole.mean([other for other in whole.dims if other != dim]).values), "codes"
