"""Where the information is: images redrawn with one code of two exchanged, drawn anew or varied."""

from collections.abc import Callable
from typing import Literal, get_args

import pyro
import torch
import xarray as xr
from pyro import poutine, validation_enabled

from ppvae.checks import check_images
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.interventions.decoding import in_parts, joined
from ppvae.interventions.held import PIXELS
from ppvae.interventions.pictures import shown
from ppvae.models.two_view import TwoViewVAE
from ppvae.pair.sites import Site
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["Code", "global_moments", "redraw", "transfer_style", "two_codes", "vary"]

Code = Literal["z_global", "z_local"]


def two_codes(
    guide: Callable, images: torch.Tensor, *, draw: bool = False, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """x → (z_global, z_local): means of q(z_global | x) and q(z_local | x̂), or one draw of each with ``draw``.

    x̂ is a view drawn by ``seed``. Shapes: images (image, C, H, W) → (image, latent_global), (image, latent_local).
    Errors: :class:`~ppvae.errors.UserError` for a guide without these sites, or images that it cannot take.
    """
    z_global, z_local = _read(guide, images, seed, lambda site: site["value"] if draw else site["fn"].mean)
    return z_global, z_local


def global_moments(guide: Callable, images: torch.Tensor, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and variances of q(z_global | x), (image, latent_global) each: where clusters are placed.

    Errors as for :func:`two_codes`.
    """
    moments, _ = _read(guide, images, seed, lambda site: torch.stack([site["fn"].mean, site["fn"].variance], -1))
    return moments[..., 0], moments[..., 1]


def _read(
    guide: Callable, images: torch.Tensor, seed: int, of_site: Callable[[Site], torch.Tensor]
) -> list[torch.Tensor]:
    """What ``of_site`` reads off the sites z_global and z_local, on the CPU, in parts of the images."""
    check_images(images, guide)

    def read(part: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        nodes = poutine.trace(guide).get_trace(part["images"]).nodes
        missing = [name for name in get_args(Code) if name not in nodes]
        if missing:
            raise UserError(f"the guide draws no {missing[0]!r}; two codes come of one such as guides.TwoViewGuide")
        return [of_site(nodes[name]).cpu() for name in get_args(Code)]

    found = in_parts(guide, read, {"images": images}, seed=seed)
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def transfer_style(
    model: TwoViewVAE, guide: Callable, images: torch.Tensor, styles: torch.Tensor, *, seed: int = 0
) -> xr.DataArray:
    """Each image redrawn in the style of each other: z_global of the one, z_local of the other, posterior means both.

    Shapes: images (image, C, H, W), styles (style, C, H, W) → (style, image, channel, row, column), what
    stands for p(x | z_global, z_local) (:func:`~ppvae.interventions.shown`).
    """
    z_global, z_local = two_codes(guide, images, seed=seed)[0], two_codes(guide, styles, seed=seed)[1]
    return _grid(model, z_global, z_local, ("style", "image"))


def redraw(
    model: TwoViewVAE, guide: Callable, images: torch.Tensor, anew: Code | None = None, *, seed: int = 0
) -> torch.Tensor:
    """Each image redrawn from a draw of its codes, the code ``anew`` drawn from its prior instead; None: neither.

    Shapes: images (image, C, H, W) → the same, what stands for p(x | z_global, z_local).
    Source: Anonymous 2019, "Explicit information placement on latent variables using auxiliary generative modelling
    task", Sec. 3.1.2.
    """
    if anew is not None:
        check_choice("anew", anew, get_args(Code))
    codes = dict(zip(get_args(Code), two_codes(guide, images, draw=True, seed=seed), strict=True))
    if anew is not None:
        codes[anew] = _drawn(model, anew, len(images), seed + 1)  # another stream than the codes' own
    return _decoded(model, codes["z_global"], codes["z_local"])


def vary(
    model: TwoViewVAE, columns: int = 8, rows: int = 8, *, cluster: int | None = None, seed: int = 0
) -> xr.DataArray:
    """Images that the model draws: columns vary z_global, rows vary z_local, all from their priors.

    ``cluster``: draw z_global from that component of a :class:`~ppvae.priors.ClusterPrior`, by its index.
    Returns (z_local, z_global, channel, row, column), what stands for p(x | z_global, z_local).
    Source: as :func:`redraw`, Figs. 2, 5 and 6.
    """
    check_whole("columns", columns, 1)
    check_whole("rows", rows, 1)
    z_global, z_local = _drawn(model, "z_global", columns, seed, cluster), _drawn(model, "z_local", rows, seed + 1)
    return _grid(model, z_global, z_local, ("z_local", "z_global"))


def _drawn(model: TwoViewVAE, code: Code, count: int, seed: int, cluster: int | None = None) -> torch.Tensor:
    """Draws of a code from its prior, (count, latent)."""
    prior = {"z_global": model.prior_global, "z_local": model.prior_local}[code]
    if cluster is not None:
        prior = poutine.condition(prior, {"cluster": _corner(prior, cluster).to(device_of(model))})
    device = device_of(model)
    with evaluating(model, device=device, seed=seed), validation_enabled(False), pyro.plate("image", count, dim=-1):
        return prior().cpu()


def _corner(prior: Callable, cluster: int) -> torch.Tensor:
    clusters = getattr(prior, "clusters", None)
    if clusters is None:
        raise UserError(f"cluster={cluster}: the model's {type(prior).__name__} has no clusters; give cluster=None")
    check_whole("cluster", cluster, 0)
    if cluster >= clusters:
        raise UserError(f"cluster={cluster}: the model has {clusters}, numbered from 0; give one of them")
    return torch.nn.functional.one_hot(torch.tensor(cluster), clusters).to(torch.get_default_dtype())


def _grid(model: TwoViewVAE, z_global: torch.Tensor, z_local: torch.Tensor, dims: tuple[str, str]) -> xr.DataArray:
    """Every pair of codes decoded: the local ones along the first dim, the global ones along the second."""
    shape = len(z_local), len(z_global)
    pairs = z_global.repeat(shape[0], 1), z_local.repeat_interleave(shape[1], 0)
    return xr.DataArray(_decoded(model, *pairs).unflatten(0, shape).numpy(), dims=(*dims, *PIXELS), name="x")


def _decoded(model: TwoViewVAE, z_global: torch.Tensor, z_local: torch.Tensor) -> torch.Tensor:
    codes = {"z_global": z_global, "z_local": z_local}
    return joined(in_parts(model, lambda part: shown(model.decode(**part)), codes)).images
