"""The Student-t prior is the Normal-Gamma prior with λ integrated out."""

import math

import pyro
import pytest
import torch
from pyro import poutine

from ppvae import UserError
from ppvae.priors import NormalGammaPrior, StudentTPrior

PARAMETERS = [(8.25, 3.62), (3.65, 0.24), (1.5, 2.0)]


def site(prior, count: int) -> dict:
    with pyro.plate("image", count, dim=-1):
        return poutine.trace(prior).get_trace().nodes["z"]


@pytest.mark.parametrize(("shape", "rate"), PARAMETERS)
def test_density_is_the_integral_over_the_precision(shape, rate):
    """Of both sites of the Normal-Gamma prior, by the trapezoidal rule in log λ (exact to 1e-10 for smooth decay)."""
    z = torch.tensor([-3.0, -0.4, 0.0, 1.1, 6.0], dtype=torch.float64)
    logs = torch.linspace(-30, 8, 4001, dtype=torch.float64)
    precision = logs.exp().expand(len(z), -1).reshape(-1, 1)
    values = {"precision": precision, "z": z.repeat_interleave(len(logs))[:, None]}
    joint = poutine.condition(NormalGammaPrior(1, shape, rate).double(), values)
    with pyro.plate("image", len(precision), dim=-1):
        nodes = poutine.trace(joint).get_trace().nodes
    log_prob = sum(nodes[name]["fn"].log_prob(nodes[name]["value"]) for name in ("precision", "z"))
    integrand = log_prob.reshape(len(z), -1) + logs  # dλ = λ dlog λ
    expected = torch.trapezoid(integrand.exp(), logs, dim=-1).log()
    marginal = site(StudentTPrior(1, shape, rate).double(), len(z))["fn"].log_prob(z[:, None])
    torch.testing.assert_close(marginal, expected, rtol=0, atol=2e-6)  # the priors hold float32 numbers


def test_variance_is_rate_over_shape_less_one():
    """0.499 for the paper's numbers; draws agree."""
    fn = site(StudentTPrior(2), 1)["fn"]
    torch.testing.assert_close(fn.variance, torch.full((1, 2), 3.62 / 7.25))
    draws = site(StudentTPrior(2), 200_000)["value"]
    assert draws.var().item() == pytest.approx(3.62 / 7.25, rel=0.02)  # 4 standard errors
    assert math.isclose(draws.mean().item(), 0, abs_tol=0.01)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shape": 0.0}, "shape=0.0.*expected"),
        ({"rate": float("nan")}, "rate=nan.*expected"),
        ({"latents": 0}, "latents=0.*expected"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        StudentTPrior(**{"latents": 2, **options})
    assert "\n" not in str(error.value)
