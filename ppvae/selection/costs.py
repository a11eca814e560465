"""What one latent costs, in nats of KL, as a function of its signal-to-noise ratio, under each prior.

The code of an image is z = μ + noise: means μ ~ N(0, s²) over the images, noise of variance v, the same for all. Its
signal-to-noise ratio is S = s²/v, and z says ½ log(1 + S) nats about μ (of Student-t noise, that much or more). Of any
prior the mean KL over the images is that information and the divergence of the mixture of all codes from the prior.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from scipy.special import digamma, gammaln, ndtr
from scipy.stats import gamma

from ppvae.errors import UserError, check_positive, check_whole

__all__ = [
    "Cost",
    "NormalGammaPath",
    "cost_of_copies",
    "cost_of_parts",
    "latent_costs",
    "normal_cost",
    "normal_gamma_cost",
    "normal_mismatch",
    "student_t_cost",
]

type Array = NDArray[np.float64]
type Cost = Callable[[Array], Array]

SWITCHES = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, 1601)])
FEW_SWITCHES = SWITCHES[::8]
_NORMAL_NODES, _NORMAL_WEIGHTS = np.polynomial.hermite_e.hermegauss(200)
_QUANTILE_NODES, _QUANTILE_WEIGHTS = np.polynomial.hermite_e.hermegauss(32)


@dataclass(frozen=True)
class NormalGammaPath:
    """Gamma(α(s), β(s)), the posterior of a precision on the straight line of Jouffroy et al., Eq. 5, s = s(p).

    α(s) = α₁ + (α₂ − α₁)·s from ``informative`` (s = 0) to ``uninformative`` (s = 1), β(s) likewise; ``prior`` is the
    prior's (shape, rate). The defaults are the paper's. Every method is elementwise over s.

    Errors: :class:`~ppvae.errors.UserError` for pairs that are not positive, and for ends of shape at most one, whose
    noise has no variance.
    """

    prior: tuple[float, float] = (8.25, 3.62)
    informative: tuple[float, float] = (3.65, 0.24)
    uninformative: tuple[float, float] = (902.0, 810.9)

    def __post_init__(self) -> None:
        for name in ("prior", "informative", "uninformative"):
            for value in getattr(self, name):
                check_positive(name, value)
        for name in ("informative", "uninformative"):
            if getattr(self, name)[0] <= 1:
                raise UserError(f"{name}={getattr(self, name)}: expected a shape above one, for 1/λ to have a mean")

    def gamma(self, switch: ArrayLike) -> tuple[Array, Array]:
        """(α, β), shape and rate."""
        s = np.asarray(switch, float)
        shape, rate = (low + (high - low) * s for low, high in zip(self.informative, self.uninformative, strict=True))
        return shape, rate

    def variance(self, switch: ArrayLike) -> Array:
        """E[1/λ] = β/(α − 1), the variance of the noise of z."""
        shape, rate = self.gamma(switch)
        return rate / (shape - 1)

    def excess(self, switch: ArrayLike) -> Array:
        """E[λ]·E[1/λ] = α/(α − 1), one for a precision that is known."""
        shape, _ = self.gamma(switch)
        return shape / (shape - 1)

    def kl(self, switch: ArrayLike) -> Array:
        """KL of the precision from its prior, nats (Eq. 10)."""
        (shape, rate), (prior_shape, prior_rate) = self.gamma(switch), self.prior
        logs = prior_shape * np.log(rate / prior_rate) - gammaln(shape) + gammaln(prior_shape)
        return logs + (shape - prior_shape) * digamma(shape) - (rate - prior_rate) * shape / rate


PAPER = NormalGammaPath()


def normal_cost(signal_to_noise: ArrayLike) -> Array:
    """½ log(1 + S): the KL from N(0, 1) of a normal code of the best scale, s² + v = 1, in nats.

    For normal means that is the information itself: no prior is cheaper. It depends on the means by their variance
    alone, and of means that are not normal it is more than they say.
    """
    return 0.5 * np.log1p(_ratios(signal_to_noise))


def normal_gamma_cost(signal_to_noise: ArrayLike, switch: float | None = None, path: NormalGammaPath = PAPER) -> Array:
    """½ α/(α − 1)·S + KL of the precision: the KL of z and its precision together, Eq. 9 and 10, in nats.

    The precision λ stands in prior and posterior: ½ E[λ] E[μ²] is linear in S for any distribution of the means and any
    scale of the prior. ``switch``: s(p); without one the best for each S, to 1e-4 nats, and the cost is concave.
    """
    ratios = _ratios(signal_to_noise)
    switches = SWITCHES if switch is None else np.array([switch])
    return _joint(ratios, switches, path).min(0)


def student_t_cost(signal_to_noise: ArrayLike, switch: float | None = None, path: NormalGammaPath = PAPER) -> Array:
    """KL of z alone, Student-t of 2α degrees of freedom and scale² β/α, from the Student-t prior, in nats.

    By quadrature: 32 quantiles of the precision, 200 Hermite nodes of z given it. ``switch``: s(p); without one the
    best for each S, to 1e-3 nats. The noise is that of the path, at least β₁/(α₁ − 1), whatever the signal.
    """
    ratios = _ratios(signal_to_noise)
    switches = FEW_SWITCHES if switch is None else np.array([switch])
    return _marginal(ratios, switches, path).min(0)


def normal_mismatch(freedom: float) -> float:
    """min over τ of KL(N(0, τ²) ‖ Student-t of so many degrees of freedom), nats, by quadrature.

    What a normal code of normal means and free scale costs above ½ log(1 + S) under that prior, at every S: the mixture
    of the codes is N(0, s² + v), whatever S. So heavy tails, alone, charge the same for a latent used or not. A guide
    that can be the prior itself at S = 0 pays it when a latent is used, once: that is all that such a prior selects by.
    """
    check_positive("freedom", freedom)
    entropy = 0.5 * math.log(2 * math.pi * math.e)

    def divergence(log_scale: float) -> float:
        z = math.exp(log_scale) * _NORMAL_NODES
        return -entropy - log_scale - float(_student_t(z, freedom, 1.0) @ _NORMAL_WEIGHTS / _NORMAL_WEIGHTS.sum())

    return float(minimize_scalar(divergence, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-8}).fun)


def cost_of_copies(signal_to_noise: ArrayLike, latents: int, cost: Cost) -> Array:
    """K·c(S/K): one signal in K copies that a decoder averages, whose ratios add up to S; nats.

    The only way a linear decoder can use several latents for one factor. Concave costs are least for one copy.
    """
    check_whole("latents", latents, 1)
    return latents * cost(_ratios(signal_to_noise) / latents)


def cost_of_parts(information: ArrayLike, latents: int, cost: Cost) -> Array:
    """K·c(exp(2I/K) − 1): so much information I in K parts that add up, S = exp(2I/K) − 1 of each; nats.

    The most that a nonlinear code of one factor gets from several latents, each of which tells what the others leave
    open (bandwidth expansion). A cost convex in the information is least for many latents; ½S falls to I itself.
    Source: Shannon, "Communication in the presence of noise", 1949: a power buys most through the widest band.
    """
    check_whole("latents", latents, 1)
    return latents * cost(np.expm1(2 * np.asarray(information, float) / latents))


def latent_costs(signal_to_noise: ArrayLike | None = None, path: NormalGammaPath = PAPER) -> xr.Dataset:
    """The cost of one latent under each prior, and the information, all in nats over dim signal_to_noise.

    Variables: ``information``, also what the normal prior costs (``normal``); ``normal_gamma`` and ``student_t``, at
    the best p for each ratio, and that p as the noise it means, ``normal_gamma_variance`` and ``student_t_variance``
    (E[1/λ]).
    ``signal_to_noise``: (n,), by default 0.01 to 1000.
    """
    given = np.geomspace(0.01, 1000.0, 161) if signal_to_noise is None else signal_to_noise
    ratios = np.atleast_1d(_ratios(given))
    joint, marginal = _joint(ratios, SWITCHES, path), _marginal(ratios, FEW_SWITCHES, path)
    joint_switch, marginal_switch = SWITCHES[joint.argmin(0)], FEW_SWITCHES[marginal.argmin(0)]
    nats, squared = {"units": "nats"}, {"long_name": "noise at the best p, E[1/λ]", "units": "latent squared"}
    columns: dict[str, tuple[Array, dict[str, Any]]] = {
        "information": (normal_cost(ratios), {"long_name": "information ½ log(1 + S)", **nats}),
        "normal": (normal_cost(ratios), {"long_name": "normal prior", **nats}),
        "normal_gamma": (joint.min(0), {"long_name": "Normal-Gamma, joint bound", **nats}),
        "student_t": (marginal.min(0), {"long_name": "Student-t, marginal bound", **nats}),
        "normal_gamma_variance": (path.variance(joint_switch), squared),
        "student_t_variance": (path.variance(marginal_switch), squared),
    }
    coordinate = ("signal_to_noise", ratios, {"long_name": "signal-to-noise ratio", "units": "1"})
    variables = {name: ("signal_to_noise", values, attrs) for name, (values, attrs) in columns.items()}
    return xr.Dataset(variables, coords={"signal_to_noise": coordinate})


def _ratios(signal_to_noise: ArrayLike) -> Array:
    ratios = np.asarray(signal_to_noise, float)
    if not (np.isfinite(ratios) & (ratios >= 0)).all():
        raise UserError(f"signal_to_noise={ratios}: expected finite numbers of at least zero")
    return ratios


def _joint(ratios: Array, switches: Array, path: NormalGammaPath) -> Array:
    """Of each switch and ratio: (switch, …)."""
    each = (-1,) + (1,) * ratios.ndim
    return 0.5 * path.excess(switches).reshape(each) * ratios + path.kl(switches).reshape(each)


def _marginal(ratios: Array, switches: Array, path: NormalGammaPath) -> Array:
    """E over z of log q(z − μ) − log p(z); z given λ is N(0, s² + 1/λ), and of λ there are 32 quantiles."""
    (shape, rate), each = path.gamma(switches), (-1,) + (1,) * ratios.ndim
    law, below = gamma(shape[:, None], scale=1 / rate[:, None]), ndtr(-np.abs(_QUANTILE_NODES))
    quantiles = np.where(_QUANTILE_NODES < 0, law.ppf(below), law.isf(below))
    signal = path.variance(switches).reshape(each) * ratios
    variances = signal[..., None] + (1 / quantiles).reshape(*each, len(_QUANTILE_NODES))
    log_p = _expected_log_prior(variances, path) @ _QUANTILE_WEIGHTS / _QUANTILE_WEIGHTS.sum()
    return -_student_t_entropy(2 * shape, np.sqrt(rate / shape)).reshape(each) - log_p


def _expected_log_prior(variances: Array, path: NormalGammaPath) -> Array:
    """E log p(z) of z ~ N(0, variance) under the Student-t prior, by a spline over log variance."""
    shape, rate = path.prior
    logs = np.linspace(np.log(variances.min()) - 1e-6, np.log(variances.max()) + 1e-6, 257)
    z = np.exp(logs / 2)[:, None] * _NORMAL_NODES
    means = _student_t(z, 2 * shape, math.sqrt(rate / shape)) @ _NORMAL_WEIGHTS / _NORMAL_WEIGHTS.sum()
    return CubicSpline(logs, means)(np.log(variances))


def _student_t(z: Array, freedom: float, scale: float) -> Array:
    """log density at z."""
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * math.log(freedom * math.pi) - math.log(scale)
    return constant - (freedom + 1) / 2 * np.log1p((z / scale) ** 2 / freedom)


def _student_t_entropy(freedom: Array, scale: Array) -> Array:
    half = (freedom + 1) / 2
    beta = gammaln(freedom / 2) + gammaln(0.5) - gammaln(half)
    return half * (digamma(half) - digamma(freedom / 2)) + 0.5 * np.log(freedom) + beta + np.log(scale)
