"""Normals relative to others: the closed KL of the residuals, the bounds, and what zero means."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ppvae.distributions import ResidualNormals
from ppvae.errors import UserError


def raw(seed: int, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(spread * torch.randn(50, generator=generator, dtype=torch.double) for _ in range(2))


@pytest.mark.parametrize("scales", ["exp", "softplus"])
def test_the_generic_kl_is_that_of_the_residuals(scales):
    """½ (Δμ²/σ² + Δσ² − log Δσ² − 1), Eq. 2 of the paper; both in float64, a few operations."""
    normals, given, residual = ResidualNormals(scales), raw(0), raw(1)
    p, q = normals.prior(given), normals.posterior(given, residual)
    ratio = normals.prior(residual).scale
    closed = 0.5 * (residual[0] ** 2 / p.scale**2 + ratio**2 - (ratio**2).log() - 1)
    torch.testing.assert_close(kl_divergence(q, p), closed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"scales": "softplus"}, {"clamp": 5.0}])
def test_a_posterior_of_zeros_is_the_prior(options):
    normals, given, zeros = ResidualNormals(**options), raw(2), (torch.zeros(50, dtype=torch.double),) * 2
    p, q = normals.prior(given), normals.posterior(given, zeros)
    torch.testing.assert_close((q.loc, q.scale), (p.loc, p.scale))
    standard = normals.prior(zeros)
    torch.testing.assert_close((standard.loc, standard.scale), (zeros[0], torch.ones_like(zeros[0])))


def test_a_clamp_bounds_what_is_added_up():
    normals, huge = ResidualNormals(clamp=5.0), raw(3, 100.0)
    q = normals.posterior(huge, huge)
    assert q.loc.abs().max() <= 5
    assert q.scale.log().abs().max() <= 5
    assert ResidualNormals().posterior(huge, huge).loc.abs().max() > 100
    # the published code's example: the residual's closed form is not the KL any more
    one, residual = (torch.tensor(0.0), torch.tensor(2.0)), (torch.tensor(1.0), torch.tensor(2.0))
    ratio = normals.posterior(one, residual).scale / normals.prior(one).scale
    assert ratio < residual[1].exp()


def test_softplus_grows_linearly():
    steep = torch.tensor([0.0, 30.0])
    zeros = torch.zeros(2)
    assert ResidualNormals("softplus").prior((zeros, steep)).scale[1] < 32
    assert isinstance(ResidualNormals("softplus").prior((zeros, steep)), Normal)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"scales": "log"}, "expected one of exp, softplus"),
        ({"clamp": 0.0}, "clamp"),
        ({"scales": "softplus", "clamp": 5.0}, "a clamp bounds log scales; give exp"),
    ],
)
def test_wrong_words(options, fault):
    with pytest.raises(UserError, match=fault):
        ResidualNormals(**options)
