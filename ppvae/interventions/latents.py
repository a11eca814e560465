"""What the model draws when latents are set by hand: reconstruction, ablation, traversal, a plane of latents."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from pyro import poutine, validation_enabled

from ppvae.errors import UserError, check_choice, check_whole
from ppvae.pair.sites import latent_sites
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["ablate", "latent_grid", "reconstruct", "traverse"]

PIXELS = ("channel", "row", "column")


def reconstruct(model: Callable, tree: xr.DataTree, *, site: str = "z") -> xr.DataArray:
    """Mean of p(x | z) at the posterior mean of z for each image: (image, channel, row, column)."""
    codes, observed = _codes(tree, site), tree["observed_data"]["x"]
    pixels = _decoded(model, codes, site)[0]
    return xr.DataArray(pixels.numpy(), dims=("image", *PIXELS), coords={"image": observed["image"]}, name="x")


def ablate(model: Callable, tree: xr.DataTree, *, site: str = "z") -> xr.Dataset:
    """How much worse each image is drawn when one latent is replaced by its mean over the images.

    Returns over ``latent``: ``worsening``, the rise of −log p(x | z) in nats per image, and ``relative``, the squared
    error with the latent ablated over the squared error without, minus one. Both at the posterior means of z.
    """
    codes = _codes(tree, site)
    observed = torch.from_numpy(tree["observed_data"]["x"].values)
    errors, distortions = zip(
        *(_errors(model, _with_mean(codes, k), site, observed) for k in (None, *range(codes.shape[-1]))), strict=True
    )
    error, distortion = np.array(errors), np.array(distortions)
    latent = tree["sample_stats"][f"{site}_mean"].dims[-1]
    return xr.Dataset(
        {
            "worsening": (latent, distortion[1:] - distortion[0], {"units": "nats per image"}),
            "relative": (latent, error[1:] / error[0] - 1, {"long_name": "relative rise of the squared error"}),
        },
        coords={latent: tree["sample_stats"][latent]},
        attrs={"images": len(codes), "squared_error": float(error[0]), "distortion": float(distortion[0])},
    )


def traverse(model: Callable, tree: xr.DataTree, *, image: int = 0, steps: int = 9, site: str = "z") -> xr.DataArray:
    """One image redrawn with each latent moved over the range of its codes, latents sorted by their KL, or by the
    variance of their codes where the pair has one KL as a whole.

    Values of a latent run between the 1 % and 99 % quantiles of its posterior means over the images.
    Returns (latent, step, channel, row, column) with coords ``latent`` (largest first), ``kl`` (latent), nats, where
    there is one, and ``value`` (latent, step).
    """
    check_whole("steps", steps, 1)
    codes = _codes(tree, site)
    if not 0 <= image < len(codes):
        raise UserError(f"image is {image}; expected an index below {len(codes)}")
    statistics = tree["sample_stats"]
    kl = statistics["kl"].mean("image").values if statistics["kl"].ndim == 2 else None
    order = np.argsort(-(codes.var(0).numpy() if kl is None else kl))
    quantiles = torch.quantile(codes, torch.tensor([0.01, 0.99], dtype=codes.dtype), dim=0)
    values = torch.stack([torch.linspace(*quantiles[:, k].tolist(), steps) for k in order])
    moved = codes[image].expand(len(order), steps, -1).clone()  # (latent, step, latent)
    for row, latent in enumerate(order):
        moved[row, :, latent] = values[row]
    pixels = _decoded(model, moved.flatten(0, 1), site)[0].unflatten(0, (len(order), steps))
    return xr.DataArray(
        pixels.numpy(),
        dims=("latent", "step", *PIXELS),
        coords={
            "latent": order,
            "value": (("latent", "step"), values.numpy()),
            **({} if kl is None else {"kl": ("latent", kl[order])}),
        },
        attrs={"image": image},
    )


def latent_grid(model: Callable, values: Sequence[float] | None = None, *, site: str = "z") -> xr.DataArray:
    """Mean of p(x | z) over the plane of a two-latent model: (z1, z0, channel, row, column).

    ``values`` of each latent; by default the 2.5 % to 97.5 % quantiles of N(0, 1) in 15 steps of equal probability.
    Errors: :class:`~ppvae.errors.UserError` for no values, or a model whose ``site`` is missing or not of two latents.
    """
    _check_plane(model, site)
    if values is None:
        values = torch.special.ndtri(torch.linspace(0.025, 0.975, 15, dtype=torch.float64)).tolist()
    if not len(values):
        raise UserError("values is empty; expected one number or more, those that each latent takes")
    axis = torch.tensor(values, dtype=torch.get_default_dtype())
    up, across = torch.meshgrid(axis, axis, indexing="ij")
    pixels = _decoded(model, torch.stack([across, up], -1).flatten(0, 1), site)[0]
    return xr.DataArray(
        pixels.unflatten(0, up.shape).numpy(),
        dims=("z1", "z0", *PIXELS),
        coords={"z1": axis.numpy(), "z0": axis.numpy()},
        name="x",
    )


def _check_plane(model: Callable, site: str) -> None:
    with evaluating(model, device=device_of(model), seed=0), validation_enabled(False):
        drawn = {node["name"]: node for node in latent_sites(poutine.trace(model).get_trace(size=1))}
    check_choice("site", site, [name for name in drawn if name != "x"])
    shape = tuple(drawn[site]["fn"].event_shape)
    if shape != (2,):
        raise UserError(f"site {site!r} has event shape {shape}; latent_grid draws a plane of two latents, shape (2,)")


def _codes(tree: xr.DataTree, site: str) -> torch.Tensor:
    sites = [name.removesuffix("_mean") for name in tree["sample_stats"].data_vars if name.endswith("_mean")]
    check_choice("site", site, sites)
    return torch.from_numpy(tree["sample_stats"][f"{site}_mean"].values)


def _with_mean(codes: torch.Tensor, latent: int | None) -> torch.Tensor:
    if latent is None:
        return codes
    ablated = codes.clone()
    ablated[:, latent] = codes[:, latent].mean()
    return ablated


def _errors(model: Callable, codes: torch.Tensor, site: str, observed: torch.Tensor) -> tuple[float, float]:
    """Mean squared error summed over pixels, and mean −log p(x | z), per image."""
    means, log_probs = _decoded(model, codes, site, observed)
    return float((means - observed).square().flatten(1).sum(1).mean()), -float(log_probs.mean())


def _decoded(
    model: Callable, codes: torch.Tensor, site: str, observed: torch.Tensor | None = None, chunk: int = 512
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Means of p(x | z), and log p(x | z) where images are given, on the CPU."""
    device = device_of(model)
    means, log_probs = [], []
    with evaluating(model, device=device, seed=0), validation_enabled(False):
        for start in range(0, len(codes), chunk):
            z = codes[start : start + chunk].to(device)
            trace = poutine.trace(poutine.condition(model, data={site: z})).get_trace(size=len(z))
            means.append(trace.nodes["x"]["fn"].mean.cpu())
            if observed is not None:
                log_probs.append(trace.nodes["x"]["fn"].log_prob(observed[start : start + chunk].to(device)).cpu())
    return torch.cat(means), torch.cat(log_probs) if log_probs else None
