"""The average KL in parts: identities, quadrature of a mixture by hand, and the cap log N."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from ppvae.errors import UserError
from ppvae.examination.surgery import elbo_surgery
from ppvae.objectives import TotalCorrelation

PARTS = ("average_kl", "mutual_information", "marginal_kl")
IMAGES = torch.tensor([-1.5, 0.2, 2.0]).double()[:, None, None, None]


def model(images: torch.Tensor) -> None:
    with pyro.plate("image", len(images), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1), infer={"event_dims": ["latent"]})
        pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None], 1.0).to_event(3), obs=images)


def guide_of(slope: float = 1.0, scale: float = 0.6):
    """z_1 ~ N(slope x, scale²), z_2 ~ N(−slope x / 2, scale²): two latents that only the images tie."""

    def guide(images: torch.Tensor) -> torch.Tensor:
        mean = images.flatten(1) * slope * torch.tensor([1.0, -0.5]).double()
        with pyro.plate("image", len(images), dim=-1):
            return pyro.sample("z", dist.Normal(mean, scale).to_event(1), infer={"event_dims": ["latent"]})

    return guide


def two_sites(images: torch.Tensor) -> None:
    """The same as ``model``, one site a latent."""
    with pyro.plate("image", len(images), dim=-1):
        first = pyro.sample("first", dist.Normal(torch.zeros(()).double(), 1.0))
        second = pyro.sample("second", dist.Normal(torch.zeros(()).double(), 1.0))
        pyro.sample("x", dist.Normal((first + second)[..., None, None, None], 1.0).to_event(3), obs=images)


def chained_guide(images: torch.Tensor) -> None:
    """q(second | first, x): the second latent's distribution moves with the first's draw."""
    x = images.flatten(1)[:, 0]
    with pyro.plate("image", len(images), dim=-1):
        first = pyro.sample("first", dist.Normal(x, 0.6))
        pyro.sample("second", dist.Normal(-0.5 * x + 0.8 * (first - x), 0.6))


def by_quadrature(slope: float = 1.0, scale: float = 0.6) -> dict[str, float]:
    """The three parts, and each latent's marginal KL, of q(z) = ⅓ Σ_j q(z | x_j) on a grid."""
    grid = torch.linspace(-8, 8, 801).double()
    step = float(grid[1] - grid[0])
    means = IMAGES.flatten(1) * slope * torch.tensor([1.0, -0.5]).double()  # (image, latent)
    each = Normal(means[..., None], scale).log_prob(grid)  # (image, latent, grid)
    log_p = Normal(0.0, 1.0).log_prob(grid)
    joint = (each[:, 0, :, None] + each[:, 1, None, :]).logsumexp(0) - math.log(3)
    prior = log_p[:, None] + log_p
    marginal = float((joint.exp() * (joint - prior)).sum() * step**2)
    single = each.logsumexp(0) - math.log(3)
    dims = ((single.exp() * (single - log_p)).sum(-1) * step).tolist()
    average = float((0.5 * (means**2 + scale**2 - 1) - math.log(scale)).sum(1).mean())
    return {
        "average_kl": average,
        "marginal_kl": marginal,
        "mutual_information": average - marginal,
        "dimension_kl": dims,
        "total_correlation": marginal - sum(dims),
    }


def test_parts_are_those_of_the_mixture_by_quadrature():
    """Three images, 4 000 draws each: the draws' errors are below 0.012 nats, and 0.05 is more than four of them."""
    found, expected = elbo_surgery(model, guide_of(), IMAGES, 4000), by_quadrature()
    assert expected["total_correlation"] > 0.2
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=0.05)


@pytest.mark.parametrize("images", [2, 7])
def test_the_parts_add_up_exactly(images):
    found = elbo_surgery(model, guide_of(), torch.randn(images, 1, 1, 1).double(), 3, batch_size=5)
    assert float(found["average_kl"] - found["mutual_information"] - found["marginal_kl"]) == pytest.approx(
        0, abs=1e-12
    )
    rest = found["marginal_kl"] - found["total_correlation"] - found["dimension_kl"].sum()
    assert float(rest) == pytest.approx(0, abs=1e-12)
    assert found["dimension_kl"].dims == ("latent",)


def test_batch_size_changes_nothing():
    images = torch.randn(300, 1, 1, 1).double()  # more than one chunk of the encoder
    whole, parts = (elbo_surgery(model, guide_of(), images, batch_size=size) for size in (10**6, 1000))
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-9)


def test_the_parts_are_those_of_the_decomposed_objective():
    """Its estimate from a whole data set is of the same terms at the same draws."""
    images = torch.randn(40, 1, 1, 1).double()
    draws = [TotalCorrelation().measure(model, guide_of(), images).recorded for _ in range(300)]
    names = {"mutual_information": "mutual_information", "total_correlation": "total_correlation"}
    found = elbo_surgery(model, guide_of(), images, 300)
    for ours, theirs in names.items():
        values = np.array([float(draw[theirs][1].mean()) for draw in draws])
        assert abs(float(found[ours]) - values.mean()) < 5 * values.std() * math.sqrt(2 / 300)
    values = np.array([float(draw["marginal_kl"][1].mean()) for draw in draws])  # the objective's name for the sum
    assert abs(float(found["dimension_kl"].sum()) - values.mean()) < 5 * values.std() * math.sqrt(2 / 300)


def test_sites_that_depend_on_each_other():
    """A chained guide against the mixture of its joint normals, log q(z) = logsumexp of full-covariance densities."""
    found = elbo_surgery(two_sites, chained_guide, IMAGES, 4000)
    assert set(found) == {name + suffix for name in PARTS for suffix in ("", "_error")}
    x = IMAGES.flatten()
    covariance = 0.36 * torch.tensor([[1.0, 0.8], [0.8, 1 + 0.64]]).double()
    joint = dist.MultivariateNormal(torch.stack([x, -0.5 * x], -1), covariance)
    mixture = MixtureSameFamily(Categorical(torch.ones(3)), joint)
    torch.manual_seed(1)
    z = joint.sample((20_000,))
    expected = float((joint.log_prob(z) - mixture.log_prob(z)).mean())
    assert float(found["mutual_information"]) == pytest.approx(expected, abs=0.03)
    kl = torch.distributions.kl_divergence(
        joint, dist.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    )
    assert float(found["average_kl"]) == pytest.approx(float(kl.mean()), abs=0.05)


def test_mutual_information_is_capped_by_log_n():
    """Codes that never overlap: I = log N exactly, and the attribute says so."""
    images = torch.arange(6).double()[:, None, None, None]
    found = elbo_surgery(model, guide_of(slope=1.0, scale=1e-3), images)
    assert float(found["mutual_information"]) == pytest.approx(math.log(6), abs=1e-9)
    assert found.attrs["cap"] == pytest.approx(math.log(6))


def test_a_collapsed_guide_has_no_part():
    found = elbo_surgery(model, guide_of(slope=0.0, scale=1.0), IMAGES, 2)
    for name in (*PARTS, "total_correlation"):
        assert float(found[name]) == pytest.approx(0, abs=1e-12)


class Still(dist.Normal):
    """A normal whose draws are fixed: of each latent, image and draw a number of its own."""

    def expand(self, batch_shape: torch.Size, _instance: dist.Normal | None = None) -> dist.Normal:
        return super().expand(batch_shape, self._get_checked_instance(Still, _instance))

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> torch.Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.loc + self.scale * torch.arange(shape.numel()).double().mul(1.7).sin().view(shape)


@pytest.mark.parametrize("batch_size", [10**6, 7])
def test_errors_are_those_of_the_infinitesimal_jackknife(batch_size):
    """Each part as a function of the images' weights w, q(z) = Σ_j w_j q(z | x_j) among them, at the same draws: the
    error is the standard deviation of N ∂/∂w_i at equal weights over √N, here by automatic differentiation."""
    count, draws = 7, 3
    images = torch.linspace(-1.5, 2.0, count).double()[:, None, None, None]
    means = images.flatten(1) * torch.tensor([1.0, -0.5]).double()

    def still_guide(images: torch.Tensor) -> torch.Tensor:
        mean = images.flatten(1) * torch.tensor([1.0, -0.5]).double()
        with pyro.plate("image", len(images), dim=-1):
            return pyro.sample("z", Still(mean, 0.6).to_event(1), infer={"event_dims": ["latent"]})

    z = Still(means, 0.6).expand((draws, count, 2)).rsample()
    each = Normal(means, 0.6).log_prob(z[:, :, None]).sum(-1)  # (draw, i, j)
    own, prior = each.diagonal(dim1=1, dim2=2), Normal(0.0, 1.0).log_prob(z).sum(-1)

    def part(name: str, weights: torch.Tensor) -> torch.Tensor:
        joint = (each + weights.log()).logsumexp(-1)
        terms = {"average_kl": own - prior, "mutual_information": own - joint, "marginal_kl": joint - prior}
        return (terms[name].mean(0) * weights).sum()

    found = elbo_surgery(model, still_guide, images, draws, batch_size=batch_size)
    for name in PARTS:
        weights = torch.full((count,), 1 / count, dtype=torch.float64, requires_grad=True)
        value = part(name, weights)
        (slope,) = torch.autograd.grad(value, weights)
        assert float(found[name]) == pytest.approx(value.item(), rel=1e-9)
        assert float(found[f"{name}_error"]) == pytest.approx(slope.std().item() / math.sqrt(count), rel=1e-9)


def test_errors_are_the_spread_over_new_images():
    """Of 120 sets of 60 images: the mean error within a quarter of the spread, whose own error is 6.5 %."""
    found = []
    for seed in range(120):
        images = 1.2 * torch.randn(60, 1, 1, 1, generator=torch.Generator().manual_seed(seed + 100)).double()
        result = elbo_surgery(model, guide_of(), images, seed=seed)
        found.append([[float(result[name]), float(result[f"{name}_error"])] for name in PARTS])
    values, errors = np.moveaxis(np.array(found), -1, 0)
    np.testing.assert_allclose(errors.mean(0), values.std(0, ddof=1), rtol=0.25)


def test_one_seed_one_result_and_nothing_changes(build):
    for name in ("normal", "normal-gamma implicit"):
        pair = build(name)
        state = torch.get_rng_state()
        found = elbo_surgery(pair.model, pair.guide, pair.images, seed=2)
        assert torch.equal(torch.get_rng_state(), state)
        assert pair.model.training
        assert found.equals(elbo_surgery(pair.model, pair.guide, pair.images, seed=2))
        assert np.isnan(elbo_surgery(pair.model, pair.guide, pair.images[:1])["average_kl_error"])


def test_mistakes_are_named_in_one_line():
    def auxiliary(images: torch.Tensor) -> None:
        guide_of()(images)
        pyro.sample("noise", dist.Normal(torch.zeros(()).double(), 1.0), infer={"is_auxiliary": True})

    with pytest.raises(UserError, match="the guide draws 'noise', which the model lacks"):
        elbo_surgery(model, auxiliary, IMAGES)
    with pytest.raises(UserError, match="num_samples=0"):
        elbo_surgery(model, guide_of(), IMAGES, 0)
