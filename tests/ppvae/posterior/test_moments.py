"""Moments and KLs of a site whose distribution moves with an earlier site's draws: both parts of the total variance."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import from_pyro_svi

IMAGES = torch.tensor([0.5, -1.0, 2.0]).double()[:, None, None, None]
FIRST, SECOND, SLOPE = 2.0, 0.5, -1.5
DRAWS = 400
LATENT = {"event_dims": ["latent"]}


def model(images: torch.Tensor) -> None:
    """p(a) = N(0, 1), p(b | a) = N(a, 1), two latents each; x ~ N(b₁, 1)."""
    with pyro.plate("image", len(images), dim=-1):
        a = pyro.sample("a", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1), infer=LATENT)
        b = pyro.sample("b", dist.Normal(a, 1.0).to_event(1), infer=LATENT)
        pyro.sample("x", dist.Normal(b[..., :1, None, None], 1.0).to_event(3), obs=images)


def guide(images: torch.Tensor) -> None:
    """q(a | x) = N(x, 2²), q(b | a) = N(−1.5 a, (½ (1 + a²))²)."""
    with pyro.plate("image", len(images), dim=-1):
        loc = images.flatten(1).expand(-1, 2)
        a = pyro.sample("a", dist.Normal(loc, FIRST).to_event(1), infer=LATENT)
        pyro.sample("b", dist.Normal(SLOPE * a, SECOND * (1 + a**2)).to_event(1), infer=LATENT)


@pytest.fixture(scope="module")
def tree():
    torch.manual_seed(0)
    return from_pyro_svi(model, guide, IMAGES, DRAWS)


def test_variance_is_the_mean_variance_and_the_variance_of_the_means(tree):
    """Given the draws of a, exactly: E[σ²(a)] + Var[μ(a)], and the mean E[μ(a)]; a's own are those of its normal."""
    a, statistics = tree["posterior"]["a"].values[0], tree["sample_stats"]
    np.testing.assert_allclose(statistics["b_mean"], SLOPE * a.mean(0), rtol=1e-9)
    within, between = (SECOND * (1 + a**2)) ** 2, (SLOPE * a).var(0)
    assert (between > 2).all()  # not to be overlooked beside the other part
    np.testing.assert_allclose(statistics["b_variance"], within.mean(0) + between, rtol=1e-9)
    np.testing.assert_allclose(statistics["a_variance"], FIRST**2, rtol=1e-9)
    np.testing.assert_allclose(statistics["a_mean"], np.broadcast_to(IMAGES.flatten(1), (3, 2)), rtol=1e-9)


def test_one_draw_has_no_variance_between_draws():
    one = from_pyro_svi(model, guide, IMAGES, 1)
    a = one["posterior"]["a"].values[0, 0]
    np.testing.assert_allclose(one["sample_stats"]["b_variance"], (SECOND * (1 + a**2)) ** 2, rtol=1e-9)


@pytest.mark.parametrize("origin", [None, 1])
def test_positions_count_from_where_they_are_told(origin):
    found = from_pyro_svi(model, guide, IMAGES, 2, index_origin=origin)["posterior"]
    for dim, size in (("chain", 1), ("draw", 2), ("image", 3), ("latent", 2)):
        assert found[dim].values.tolist() == list(range(origin or 0, size + (origin or 0))), dim


def test_kls_are_closed_forms_given_the_earlier_sites_draws(tree):
    """KL(q(b | a) ‖ p(b | a)), averaged over the draws of a, latent by latent; nats."""
    a = torch.from_numpy(tree["posterior"]["a"].values[0])
    q, p = dist.Normal(SLOPE * a, SECOND * (1 + a**2)), dist.Normal(a, 1.0)
    expected = torch.distributions.kl_divergence(q, p).mean(0)
    np.testing.assert_allclose(tree["sample_stats"]["kl_b"], expected, rtol=1e-9)
    first = dist.Normal(IMAGES.flatten(1).expand(-1, 2), FIRST)
    standard = dist.Normal(torch.zeros(2).double(), 1.0)
    np.testing.assert_allclose(
        tree["sample_stats"]["kl_a"], torch.distributions.kl_divergence(first, standard), rtol=1e-9
    )


def test_the_mode_of_a_discrete_site_is_its_most_probable_value():
    """By q(y | x) = softmax of three logits that move with the image; a count's mean and variance beside it."""
    logits = IMAGES.flatten(1) * torch.tensor([-1.0, 0.1, 1.0]).double()

    def counted(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            y = pyro.sample("y", dist.Categorical(torch.ones(3).double()))
            pyro.sample("x", dist.Normal(y.double()[..., None, None, None], 1.0).to_event(3), obs=images)

    def guess(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("y", dist.Categorical(logits=images.flatten(1) * torch.tensor([-1.0, 0.1, 1.0]).double()))

    statistics = from_pyro_svi(counted, guess, IMAGES, 5)["sample_stats"]
    np.testing.assert_array_equal(statistics["y_mode"], logits.argmax(1))
    assert set(statistics["y_mode"].values.tolist()) == {0, 2}


def test_the_priors_variance_is_total_too(tree):
    """Var b = 1 + Var a = 2, of 1 024 draws of a for two latents: a standard error of √(2/2 048) = 0.03."""
    statistics = tree["sample_stats"]
    assert statistics["a_variance"].attrs["prior_variance"] == pytest.approx(1.0, rel=1e-9)
    assert statistics["b_variance"].attrs["prior_variance"] == pytest.approx(2.0, abs=5 * 0.031)


def test_densities_are_those_of_the_draws(tree):
    """log p(a, b, x), log q(a, b | x) and their mean difference, by hand."""
    a, b = (torch.from_numpy(tree["posterior"][site].values[0]) for site in "ab")
    log_q = dist.Normal(IMAGES.flatten(1).expand(-1, 2), FIRST).log_prob(a)
    log_q = (log_q + dist.Normal(SLOPE * a, SECOND * (1 + a**2)).log_prob(b)).sum(-1)
    prior = dist.Normal(0.0, 1.0).log_prob(a).sum(-1), dist.Normal(a, 1.0).log_prob(b).sum(-1)
    log_p = sum(prior) + dist.Normal(b[..., 0], 1.0).log_prob(IMAGES.flatten())
    statistics = tree["sample_stats"]
    np.testing.assert_allclose(statistics["log_q"][0], log_q, rtol=1e-9)
    np.testing.assert_allclose(statistics["log_p"][0], log_p, rtol=1e-9)
    np.testing.assert_allclose(statistics["elbo"], (log_p - log_q).mean(0), rtol=1e-9)
    np.testing.assert_allclose(tree["log_prior"]["b"][0], prior[1], rtol=1e-9)
