"""The Student-t guide is the Normal-Gamma guide without λ, and its bound is the tighter one.

log p(x) ≥ ELBO of the Student-t pair ≥ ELBO of the Normal-Gamma pair: λ reaches x through z alone, so both have one
distortion, and the KL of (λ, z) is never below that of z.
"""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from guides import NormalGammaGuide, StudentTGuide
from ppvae import VAE, BetaELBO, UserError
from ppvae.pair.terms import trace
from ppvae.priors import NormalGammaPrior, StudentTPrior

SCALE = 0.5
LOADINGS = torch.tensor([0.9, -0.4, 0.3], dtype=torch.float64)
X = torch.tensor([0.6, -0.5, 0.2], dtype=torch.float64).reshape(1, 1, 1, 3)
INFORMATIVE, UNINFORMATIVE = (3.65, 0.24), (902.0, 810.9)
POINTS = [(0.8, INFORMATIVE, 36.25, 1.15), (0.1, UNINFORMATIVE, 3.561, 0.103)]
TAILS = torch.linspace(-80, 80, 400_001, dtype=torch.float64)


class Features(nn.Module):
    """An encoder that returns its images, flattened."""

    features = 3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


class Linear(nn.Module):
    """x | z ~ N(wz, σ²I), one latent."""

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal((z * LOADINGS)[..., None, None, :], SCALE).to_event(3)


def make_guides(latents: int = 2) -> tuple[NormalGammaGuide, StudentTGuide]:
    """Both with the same parameters."""
    student = StudentTGuide(Features(), latents, slope=10.0).double()
    return student.joint, student


def guides_at(mean: float, end: tuple[float, float]) -> tuple[NormalGammaGuide, StudentTGuide]:
    """One latent with q(z | x) fixed at an end of the path."""
    student = StudentTGuide(Features(), 1, endpoint_exact=True).double()
    for head, value in ((student.joint.loc, mean), (student.joint.logit, -40.0 if end == INFORMATIVE else 40.0)):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, value)
    return student.joint, student


def prior_density(z: torch.Tensor) -> torch.Tensor:
    with pyro.plate("image", len(z), dim=-1):
        site = poutine.trace(StudentTPrior(1).double()).get_trace().nodes["z"]
    return site["fn"].log_prob(z[:, None])


def test_density_is_the_integral_over_the_precision():
    """Of both sites of the Normal-Gamma guide, by the trapezoidal rule in log λ, at several z of each image."""
    joint, student = make_guides(1)
    images = torch.rand(1, 1, 1, 3, dtype=torch.float64)
    z, logs = torch.tensor([-3.0, 0.0, 0.7, 5.0]).double(), torch.linspace(-30, 10, 8001, dtype=torch.float64)
    values = {"precision": logs.exp().repeat(len(z))[:, None], "z": z.repeat_interleave(len(logs))[:, None]}
    nodes = poutine.trace(poutine.condition(joint, values)).get_trace(images.expand(len(values["z"]), 1, 1, 3)).nodes
    log_prob = sum(nodes[name]["fn"].log_prob(nodes[name]["value"]) for name in ("precision", "z"))
    integral = torch.trapezoid((log_prob.reshape(len(z), -1) + logs).exp(), logs, dim=-1).log()
    marginal = student.posterior(images.expand(len(z), 1, 1, 3)).log_prob(z[:, None])
    torch.testing.assert_close(marginal, integral, rtol=0, atol=1e-8)


def test_sites_and_the_recorded_p():
    joint, student = make_guides()
    images = torch.rand(5, 1, 1, 3, dtype=torch.float64)
    nodes = poutine.trace(student).get_trace(images).nodes
    p, fn = joint.logit(images.flatten(1)).sigmoid(), nodes["z"]["fn"].base_dist
    shape, rate = joint.gamma_parameters(p)
    torch.testing.assert_close(nodes["p"]["value"], p)
    torch.testing.assert_close(fn.df, 2 * shape)
    torch.testing.assert_close(fn.scale.square(), rate / shape)
    torch.testing.assert_close(fn.loc, joint.loc(images.flatten(1)))
    assert [name for name in nodes if name in ("p", "precision", "z")] == ["p", "z"]


@pytest.mark.parametrize(("mean", "end", "joint_kl", "marginal_kl"), POINTS)
def test_rates_are_the_quoted_ones(mean, end, joint_kl, marginal_kl, within_errors):
    """Marginal KL by quadrature of the guide's density, and both pairs' sampled rates, to the digits quoted."""
    joint, student = guides_at(mean, end)
    images = X.expand(20_000, 1, 1, 3)
    with torch.no_grad():
        q = student.posterior(X.expand(len(TAILS), 1, 1, 3)).log_prob(TAILS[:, None])
        kl = torch.trapezoid(q.exp() * (q - prior_density(TAILS)), TAILS).item()
        marginal = trace(VAE(StudentTPrior(1), Linear()).double(), student, images).rate
        pair = VAE(NormalGammaPrior(1), Linear()).double(), joint, images
        closed, sampled = (BetaELBO(estimator=name).measure(*pair).rate for name in ("mean_field", "trace"))
    for value, quoted in ((kl, marginal_kl), (closed.mean().item(), joint_kl)):
        assert value == pytest.approx(quoted, abs=0.51 * 10.0 ** -len(str(quoted).partition(".")[2]))
    within_errors(marginal, kl, resolution=0.2)
    within_errors(sampled, closed.mean(), resolution=0.05)


@pytest.mark.parametrize(("mean", "end", "joint_kl", "marginal_kl"), POINTS)
def test_bounds_are_ordered(mean, end, joint_kl, marginal_kl):
    """ELBO of the joint pair ≤ ELBO of the Student-t pair ≤ log p(x), the last by quadrature over z."""
    x, (shape, rate) = X.flatten(), end
    squares = (x - LOADINGS * mean).square().sum() + LOADINGS.square().sum() * rate / (shape - 1)
    distortion = (squares / (2 * SCALE**2) + 1.5 * math.log(2 * math.pi * SCALE**2)).item()
    with torch.no_grad():
        likelihood = Linear()(TAILS[:, None]).log_prob(X)
        evidence = torch.trapezoid((prior_density(TAILS) + likelihood).exp(), TAILS).log().item()
    assert -distortion - joint_kl + 1 < -distortion - marginal_kl < evidence - 1e-3


def test_the_bound_holds_draw_by_draw_on_average(within_errors):
    """The programs' own bounds: distortions of both pairs agree with the closed form, and their rates are ordered."""
    joint, student = guides_at(0.8, INFORMATIVE)
    images = X.expand(20_000, 1, 1, 3)
    squares = (X.flatten() - 0.8 * LOADINGS).square().sum() + LOADINGS.square().sum() * 0.24 / 2.65
    distortion = squares / (2 * SCALE**2) + 1.5 * math.log(2 * math.pi * SCALE**2)
    with torch.no_grad():
        for prior, guide in ((NormalGammaPrior(1), joint), (StudentTPrior(1), student)):
            terms = trace(VAE(prior, Linear()).double(), guide, images)
            within_errors(terms.distortion, distortion, resolution=0.05)


def test_float32_is_close_to_float64():
    """log Γ near 900 leaves 1.2e-4 nats of rounding a latent in float32 (measured), here of two latents."""
    images = torch.rand(5, 1, 1, 3)
    student = StudentTGuide(Features(), 2, initial_probability=0.9)
    z = torch.randn(5, 2)
    single = student.posterior(images).log_prob(z).detach()
    double = student.double().posterior(images.double()).log_prob(z.double())
    assert (single - double).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"initial_probability": 1.0}, "initial_probability.*1.0.*expected"),
        ({"slope": 0.0}, "slope=0.0.*expected"),
        ({"informative": (-1.0, 0.24)}, "informative=-1.0.*expected"),
        ({"uninformative": (902.0,)}, "uninformative=.*two numbers"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        StudentTGuide(Features(), 2, **options)
    assert "\n" not in str(error.value)
