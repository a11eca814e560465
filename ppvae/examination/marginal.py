"""log p(x) by importance sampling from the guide."""

import hashlib
from collections.abc import Callable

import numpy as np
import pyro
import torch
import xarray as xr
from tqdm.auto import tqdm

from ppvae.checks import check_data, check_sites
from ppvae.datasets import ImageDataset
from ppvae.diagnostics.pareto import good_pareto_k
from ppvae.diagnostics.weights import rounding, weight_summary
from ppvae.errors import check_whole
from ppvae.pair.program import Data
from ppvae.pair.sites import Site, observed_sites
from ppvae.pair.terms import pair_traces, sampled_rate, terms_of
from ppvae.pair.untouched import device_of, evaluating, unit_of

__all__ = ["log_marginal"]

FEW = 8  # images of the run that checks the pair


def log_marginal(
    model: Callable,
    guide: Callable,
    images: Data | ImageDataset,
    num_samples: int = 5000,
    *,
    batch_size: int = 4096,
    seed: int = 0,
    progress: bool = False,
) -> xr.Dataset:
    """log p(x) of each image by ``num_samples`` draws from the guide: log (1/S) Σ p(x, z) / q(z | x).

    Shapes: images (image, C, H, W), as the pair takes them, a tuple of them and what else it takes of each, then
    log p(x | y), or a data set of such. Returns over ``image``, in nats:
    ``log_marginal``, a lower bound in expectation that meets log p(x) as S grows; ``elbo``, the mean log weight;
    ``effective_samples``, (Σw)²/Σw²: near one, the bound hangs on one draw and more would raise it; and ``pareto_k``,
    the shape of the weights' tail: below its attribute ``good`` the bound can be trusted, −inf where q is exact (see
    :func:`~ppvae.diagnostics.pareto_smooth`).
    ``batch_size``: images × draws decoded at a time, the bound on memory beside one image's S weights. Modules, random
    state and parameter store stay as they were; one seed (and batch size) gives one result. The attributes ``data`` and
    ``pixels``, what the images are and a hash of them, and ``measure``, whether the likelihood is a density or a
    probability of them, let :func:`~ppvae.compare` refuse what does not compare.

    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, or arguments out of range.
    Sources: Burda et al. 2016, Sec. 5 (S = 5000); Vehtari et al. 2024 (k̂).
    """
    inputs = check_data(images, model, guide, seed=seed)
    data = images.description if isinstance(images, ImageDataset) else f"{len(inputs[0])} images"
    check_whole("num_samples", num_samples, 1)
    check_whole("batch_size", batch_size, 1)
    device = device_of(model, guide, inputs[0])
    draws = min(num_samples, batch_size)
    chunks = zip(*(values.split(max(1, batch_size // draws)) for values in inputs), strict=True)
    parts = []
    with evaluating(model, guide, device=device, seed=seed), pyro.validation_enabled(False):
        observed = observed_sites(check_sites(model, guide, tuple(values[:FEW].to(device) for values in inputs))[-1])
        with tqdm(total=len(inputs[0]), unit="image", disable=not progress) as bar:
            for chunk in chunks:
                parts.append(_summary(model, guide, tuple(part.to(device) for part in chunk), num_samples, draws))
                bar.update(len(chunk[0]))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    units = {"units": unit_of(model)}
    return xr.Dataset(
        {
            "log_marginal": ("image", found["elpd"], units),
            "elbo": ("image", found["elbo"], units),
            "effective_samples": ("image", found["effective_samples"], {"units": "draws"}),
            "pareto_k": ("image", found["pareto_k"], {"units": "1", "good": good_pareto_k(max(num_samples, 2))}),
        },
        coords={"image": np.arange(len(inputs[0]))},
        attrs={
            "num_samples": num_samples,
            "seed": seed,
            "data": data,
            "pixels": _fingerprint(inputs[0]),
            "measure": _measure(observed),
        },
    )


def _measure(observed: list[Site]) -> str:
    """``probability`` where all observed values are of a countable set, else ``density``."""
    return "probability" if all(site["fn"].support.is_discrete for site in observed) else "density"


def _fingerprint(images: torch.Tensor) -> str:
    pixels = np.ascontiguousarray(images.detach().cpu().float().numpy())
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _summary(
    model: Callable, guide: Callable, data: tuple[torch.Tensor, ...], num_samples: int, draws: int
) -> dict[str, np.ndarray]:
    """What the log weights of each image say, ``draws`` decoded at a time; (image,) each."""
    parts, size = [], 0.0
    for start in range(0, num_samples, draws):
        with pyro.plate("draws", min(draws, num_samples - start), dim=-2):
            terms = terms_of(*pair_traces(model, guide, data), sampled_rate)
        parts.append(-(terms.distortion + terms.rate).T.cpu())
        size = max(size, float((terms.distortion.abs() + terms.rate.abs()).max()))
    log_weights = torch.cat(parts, 1).numpy()
    return weight_summary(log_weights, rounding(size, log_weights.dtype))
