"""With a linear decoder: the optimum of each bound, and so which latents it uses.

Images of covariance eigenvalues λ_i, a decoder W z with noise σ², a linear encoder. The best decoder for an encoder is
linear regression, and z may be measured in units of its noise; then with row k of B (latent, principal axis) the mean
of latent k by white principal axis, the loss is

    ½ tr Λ (I + BᵀB)⁻¹ / σ² + Σ_k c(S_k),  S_k = ‖row k of B‖²

in nats an image, up to constants. The first term and the set of BBᵀ's eigenvalues stay under rotations of the latents,
B → QB, while the ratios S_k, the diagonal of BBᵀ, can become whatever those eigenvalues majorise (Schur and Horn). So
of all rotations a strictly concave cost takes the eigenvalues themselves, a latent for each axis in use and none
beside; a convex one takes K equal ratios; and a linear one, that of the Normal-Gamma joint bound at one p, does not
choose. Nothing is asked of the images but their covariance, as long as the cost depends on the means by their variance;
that of the Student-t bound is for normal images.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from ppvae.errors import UserError, check_positive, check_whole
from ppvae.selection.costs import PAPER, Array, Cost, NormalGammaPath

__all__ = ["linear_loss", "linear_optimum", "soft_thresholding", "water_filling"]

RATIOS = np.concatenate([[0.0], np.geomspace(1e-4, 1e6, 601)])


def linear_loss(
    encoder: torch.Tensor,
    eigenvalues: torch.Tensor,
    cost: Callable[[torch.Tensor], torch.Tensor],
    noise: float = 1.0,
) -> torch.Tensor:
    """The loss above at an encoder B, nats an image: a number to differentiate.

    Shapes: encoder (latent, D), its means in units of their noise by white principal axes; eigenvalues (D,); ``cost``
    elementwise. ``noise``: σ², times β where the rate is weighted.
    """
    identity = torch.eye(len(eigenvalues), dtype=encoder.dtype)
    left = torch.linalg.inv(identity + encoder.T @ encoder).diagonal()
    return 0.5 * (eigenvalues * left).sum() / noise + cost(encoder.square().sum(1)).sum()


def linear_optimum(eigenvalues: ArrayLike, latents: int, cost: Cost, noise: float = 1.0) -> xr.Dataset:
    """The optimum for a concave cost, found axis by axis: min over S of ½ λ / (σ² (1 + S)) + c(S).

    Shapes: eigenvalues (D,). Returns over dim ``latent`` the ratios ``signal_to_noise`` and costs ``kl``, the largest
    first, and the numbers ``rate``, ``distortion`` (½ of the squared error over σ²), their sum ``loss``, and ``used``,
    the latents with a signal; nats an image.
    Errors: :class:`~ppvae.errors.UserError` for eigenvalues or a noise that cannot be.
    """
    axes = _axes(eigenvalues, latents, noise)
    first, table = axes[:latents], cost(RATIOS)
    ratios = np.array([_best_ratio(value / noise, cost, table) for value in first])
    ratios = np.concatenate([ratios, np.zeros(latents - len(first))])
    return _optimum(axes / noise, ratios, cost(ratios))


def water_filling(eigenvalues: ArrayLike, latents: int, noise: float = 1.0) -> xr.Dataset:
    """The normal prior's optimum, S = (λ/σ² − 1)₊ of each axis: as many latents as eigenvalues above σ².

    As :func:`linear_optimum`. Source: Tipping and Bishop, "Probabilistic principal component analysis", 1999; Lucas,
    Tucker, Grosse and Norouzi, "Don't blame the ELBO!", 2019.
    """
    axes = _axes(eigenvalues, latents, noise)
    ratios = _padded(np.maximum(axes / noise - 1, 0), latents)
    return _optimum(axes / noise, ratios, 0.5 * np.log1p(ratios))


def soft_thresholding(
    eigenvalues: ArrayLike, latents: int, noise: float = 1.0, switch: float | None = None, path: NormalGammaPath = PAPER
) -> xr.Dataset:
    """The optimum of the Normal-Gamma joint bound with one p for all latents, by the principal axes.

    There the bound is ½‖Λ^½ − M‖²/σ² + ρ/σ ‖M‖_* + K·KL of the precision, of M = decoder × encoder × Λ^½, with the
    nuclear norm for the least of ½(v‖W‖²/σ² + E[λ]‖B‖²) over factors of M and ρ² = α/(α − 1). Its optimum takes ρσ from
    each singular value: S = (√λ/ρσ − 1)₊, as many axes as eigenvalues above ρ²σ². Any rotation of these latents, over
    all K of them too, has the same loss: ``signal_to_noise`` is one of many. ``switch``: s(p), without one that of the
    least KL, which an unused latent has. As :func:`linear_optimum`, which gives the optimum with a p for each latent
    for :func:`~ppvae.selection.normal_gamma_cost`: that bends a little, and the axes win by thousandths of a nat.
    """
    axes = _axes(eigenvalues, latents, noise)
    if switch is None:
        options = {"bounds": (-14.0, 0.0), "method": "bounded", "options": {"xatol": 1e-9}}
        switch = math.exp(minimize_scalar(lambda log: float(path.kl(math.exp(log))), **options).x)
    rho = math.sqrt(float(path.excess(switch)))
    ratios = _padded(np.maximum(np.sqrt(axes / noise) / rho - 1, 0), latents)
    return _optimum(axes / noise, ratios, 0.5 * rho**2 * ratios + path.kl(switch))


def _axes(eigenvalues: ArrayLike, latents: int, noise: float) -> Array:
    """The eigenvalues, largest first."""
    check_whole("latents", latents, 1)
    check_positive("noise", noise)
    values = np.asarray(eigenvalues, float)
    if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values >= 0)).all():
        raise UserError(f"eigenvalues={values}: expected one or more finite numbers of at least zero, (D,)")
    return np.sort(values)[::-1]


def _padded(ratios: Array, latents: int) -> Array:
    """Those of the first latents; zero for latents beyond the axes."""
    return np.concatenate([ratios[:latents], np.zeros(max(latents - len(ratios), 0))])


def _best_ratio(scaled: float, cost: Cost, table: Array) -> float:
    """The S of least loss on a grid, refined between its neighbours; zero where no signal pays."""
    best = int((0.5 * scaled / (1 + RATIOS) + table).argmin())
    if best == 0:
        return 0.0
    low, high = np.log(RATIOS[max(best - 1, 1)]), np.log(RATIOS[min(best + 1, len(RATIOS) - 1)])
    found = minimize_scalar(
        lambda log: 0.5 * scaled / (1 + math.exp(log)) + float(cost(np.array(math.exp(log)))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return math.exp(found.x)


def _optimum(scaled: Array, ratios: Array, costs: Array) -> xr.Dataset:
    """``scaled``: eigenvalues over σ²; latent k has axis k."""
    taken = np.zeros_like(scaled)
    taken[: len(ratios)] = ratios[: len(scaled)]
    rate, distortion = float(costs.sum()), float(0.5 * (scaled / (1 + taken)).sum())
    nats = {"units": "nats"}
    return xr.Dataset(
        {
            "signal_to_noise": ("latent", ratios, {"units": "1"}),
            "kl": ("latent", costs, nats),
            "rate": ((), rate, nats),
            "distortion": ((), distortion, nats),
            "loss": ((), rate + distortion, nats),
            "used": ((), int((ratios > 0).sum()), {"units": "latents"}),
        }
    )
