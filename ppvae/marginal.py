"""log p(x) by importance sampling from the guide."""

import math
from collections.abc import Callable

import numpy as np
import pyro
import torch
import xarray as xr
from tqdm.auto import tqdm

from ppvae.errors import check_whole
from ppvae.evaluation import device_of, evaluating, unit_of
from ppvae.pairs import check_images, check_sites
from ppvae.terms import pair_traces, sampled_rate, terms_of

__all__ = ["log_marginal"]


def log_marginal(
    model: Callable,
    guide: Callable,
    images: torch.Tensor,
    num_samples: int = 5000,
    *,
    batch_size: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """log p(x) of each image by ``num_samples`` draws from the guide: log (1/S) Σ p(x, z) / q(z | x).

    Shapes: images (image, C, H, W), as the pair takes them. Returns over ``image``, in nats: ``log_marginal``, a lower
    bound in expectation that meets log p(x) as S grows; ``elbo``, the mean log weight; and ``effective_samples``,
    (Σw)²/Σw²: near one, the bound hangs on one draw and more would raise it.
    ``batch_size``: images × draws decoded at a time, the bound on memory. Modules, random state and parameter store
    stay as they were; one seed (and batch size) gives one result.

    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, or arguments out of range.
    Source: Burda et al. 2016, Sec. 5 (S = 5000).
    """
    check_images(images, model, guide)
    check_whole("num_samples", num_samples, 1)
    check_whole("batch_size", batch_size, 1)
    device = device_of(model, guide)
    draws = min(num_samples, batch_size)
    chunks = images.split(max(1, batch_size // draws))
    parts = []
    with evaluating(model, guide, device=device, seed=seed), pyro.validation_enabled(False):
        check_sites(model, guide, images[:1].to(device))
        with tqdm(total=len(images), unit="image", disable=not progress) as bar:
            for chunk in chunks:
                parts.append(_sums(model, guide, chunk.to(device), num_samples, draws))
                bar.update(len(chunk))
    first, second, mean = (torch.cat(column).double().cpu().numpy() for column in zip(*parts, strict=True))
    units = {"units": unit_of(model)}
    return xr.Dataset(
        {
            "log_marginal": ("image", first - math.log(num_samples), units),
            "elbo": ("image", mean / num_samples, units),
            "effective_samples": ("image", np.exp(2 * first - second), {"units": "draws"}),
        },
        coords={"image": np.arange(len(images))},
        attrs={"num_samples": num_samples, "seed": seed},
    )


def _sums(
    model: Callable, guide: Callable, images: torch.Tensor, num_samples: int, draws: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log Σw, log Σw² and Σ log w of each image, ``draws`` at a time; (image,) each."""
    first = second = torch.full((len(images),), -math.inf, device=images.device)
    total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for start in range(0, num_samples, draws):
        with pyro.plate("draws", min(draws, num_samples - start), dim=-2):
            terms = terms_of(*pair_traces(model, guide, images), sampled_rate, images)
        log_weights = -(terms.distortion + terms.rate)
        first = torch.logaddexp(first, log_weights.logsumexp(0))
        second = torch.logaddexp(second, (2 * log_weights).logsumexp(0))
        total = total + log_weights.sum(0, dtype=torch.float64)
    return first, second, total
