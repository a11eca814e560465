"""The prior with a cluster site: summed over clusters it is the mixture of normals; draws and rates against others."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from ppvae import UserError
from ppvae.priors import ClusterPrior, MixturePrior

CLUSTERS, LATENTS = 3, 2
LOCS = torch.tensor([[1.5, -0.5], [-1.0, 2.0], [0.3, -2.0]], dtype=torch.float64)
SCALES = torch.tensor([[0.7, 1.2], [0.5, 0.8], [1.4, 0.6]], dtype=torch.float64)


def make_prior(site: str = "z") -> ClusterPrior:
    prior = ClusterPrior(LATENTS, CLUSTERS, site=site).double()
    with torch.no_grad():
        prior.loc.copy_(LOCS)
        prior.log_scale.copy_(SCALES.log())
    return prior


def sites(prior: ClusterPrior, count: int, **given: torch.Tensor) -> dict:
    """The program's sites with some of them given."""
    with pyro.plate("image", count, dim=-1):
        return poutine.trace(poutine.condition(prior, given)).get_trace().nodes


def test_summed_over_clusters_it_is_the_mixture_of_normals():
    """Σ_k p(y = k) p(z | y = k) against torch's mixture and against MixturePrior with the same numbers."""
    prior, z = make_prior(), 2 * torch.randn(50, LATENTS, dtype=torch.float64)
    joint = []
    for corner in torch.eye(CLUSTERS, dtype=torch.float64):
        nodes = sites(prior, 50, cluster=corner.expand(50, CLUSTERS), z=z)
        joint.append(sum(nodes[name]["fn"].log_prob(nodes[name]["value"]) for name in ("cluster", "z")))
    found = torch.stack(joint).logsumexp(0)
    weights = Categorical(torch.full((CLUSTERS,), 1 / CLUSTERS, dtype=torch.float64))
    torch.testing.assert_close(
        found, MixtureSameFamily(weights, Independent(Normal(LOCS, SCALES), 1), validate_args=False).log_prob(z)
    )
    mixture = MixturePrior(LATENTS, CLUSTERS).double()
    mixture.load_state_dict({"logits": torch.zeros(CLUSTERS), "loc": LOCS, "log_scale": SCALES.log()})
    torch.testing.assert_close(found, sites(mixture, 50, z=z)["z"]["fn"].log_prob(z))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_draws_obey_the_law_of_total_variance(seed, within_errors):
    """E z = mean of the means; Cov z = mean of the variances + covariance of the means; clusters equally often."""
    torch.manual_seed(seed)
    with torch.no_grad():
        nodes = sites(make_prior(), 50_000)
    z, y = nodes["z"]["value"], nodes["cluster"]["value"]
    mean = LOCS.mean(0)
    covariance = SCALES.square().mean(0).diag() + (LOCS - mean).T @ (LOCS - mean) / CLUSTERS
    within_errors(z, mean, resolution=0.2)
    products = (z - mean)[:, :, None] * (z - mean)[:, None, :]
    within_errors(products.flatten(1), covariance.flatten(), resolution=0.05)
    assert ((y == 0) | (y == 1)).all()
    within_errors(y, torch.full((CLUSTERS,), 1 / CLUSTERS), resolution=0.05)
    for k in range(CLUSTERS):  # and z belongs to the cluster that was drawn
        within_errors(z[y[:, k] == 1], LOCS[k], resolution=0.1)


@pytest.mark.parametrize("batch", [(7,), (4, 7)], ids=["images", "draws of images"])
def test_rates_are_the_kl_from_each_cluster(batch):
    """Against torch's diagonal and, as an independent formula, its full-covariance normals."""
    prior = make_prior()
    loc = torch.randn(*batch, LATENTS, dtype=torch.float64)
    scale = torch.rand(*batch, LATENTS, dtype=torch.float64) + 0.2
    found = prior.rates(dist.Normal(loc, scale).to_event(1))
    assert found.shape == (*batch, CLUSTERS)
    for k in range(CLUSTERS):
        diagonal = kl_divergence(Normal(loc, scale), Normal(LOCS[k], SCALES[k])).sum(-1)
        full = kl_divergence(
            MultivariateNormal(loc, scale.square().diag_embed()), MultivariateNormal(LOCS[k], SCALES[k].square().diag())
        )
        torch.testing.assert_close(found[..., k], diagonal)
        torch.testing.assert_close(found[..., k], full)


def test_the_rate_of_a_cluster_is_the_kl_from_its_normal():
    """``rates`` and ``normal``, which the program draws from, agree; a cluster's own normal has none."""
    prior = make_prior()
    own = dist.Normal(LOCS, SCALES).to_event(1)
    rates = prior.rates(own)
    torch.testing.assert_close(rates.diagonal(), torch.zeros(CLUSTERS, dtype=torch.float64))
    for k, corner in enumerate(torch.eye(CLUSTERS, dtype=torch.float64)):
        torch.testing.assert_close(rates[:, k], kl_divergence(own, prior.normal(corner)))


def test_a_relaxed_cluster_interpolates_means_and_scales():
    prior = make_prior()
    y = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]], dtype=torch.float64)
    fn = sites(prior, 2, cluster=y)["z"]["fn"]
    torch.testing.assert_close(fn.base_dist.loc, (y[:, :, None] * LOCS).sum(1))
    torch.testing.assert_close(fn.base_dist.scale, (y[:, :, None] * SCALES).sum(1))


@pytest.mark.parametrize(("site", "dim"), [("z", "latent"), ("z_global", "latent_global")])
def test_sites_and_dims(site, dim):
    with pyro.plate("draws", 4, dim=-2):
        nodes = sites(make_prior(site), 5)
    assert nodes["cluster"]["value"].shape == (4, 5, CLUSTERS)
    assert nodes[site]["value"].shape == (4, 5, LATENTS)
    assert nodes["cluster"]["infer"]["event_dims"] == ["component"]
    assert nodes[site]["infer"]["event_dims"] == [dim]


def test_means_and_scales_are_learned_and_the_weights_are_not():
    """In one batch of z with their clusters: the gradient of log p(z | y) by hand."""
    prior = make_prior()
    assert {name for name, _ in prior.named_parameters()} == set(prior.state_dict()) == {"loc", "log_scale"}
    y = torch.eye(CLUSTERS, dtype=torch.float64)[[0, 0, 1]]
    z = torch.randn(3, LATENTS, dtype=torch.float64)
    nodes = sites(prior, 3, cluster=y, z=z)
    loss = sum(nodes[name]["fn"].log_prob(nodes[name]["value"]).sum() for name in ("cluster", "z"))
    loc, log_scale = torch.autograd.grad(loss, [prior.loc, prior.log_scale])
    errors = (z - y @ LOCS) / (y @ SCALES)
    torch.testing.assert_close(loc, y.T @ (errors / (y @ SCALES)))
    torch.testing.assert_close(log_scale, y.T @ (errors.square() - 1))


@pytest.mark.parametrize("spread", [0.2, 0.5, 0.9])
def test_it_starts_with_variance_one_and_distinct_clusters(spread):
    """The tolerance is 5 standard errors of the variance of 5 000 means, 0.1 of it."""
    prior = ClusterPrior(4, 5_000, spread)
    variance = (2 * prior.log_scale).exp().mean(0) + prior.loc.var(0)
    torch.testing.assert_close(variance, torch.ones(4), rtol=0, atol=0.1)
    torch.testing.assert_close(prior.loc.var(0), torch.full((4,), spread), rtol=0.1, atol=0)
    assert torch.unique(prior.loc, dim=0).shape == prior.loc.shape
    torch.testing.assert_close(prior.logits.exp().sum(), torch.tensor(1.0), rtol=1e-5, atol=0)


def test_it_starts_as_the_mixture_prior_does():
    """One seed, the same means and scales."""
    torch.manual_seed(3)
    prior = ClusterPrior(LATENTS, CLUSTERS, 0.3)
    torch.manual_seed(3)
    mixture = MixturePrior(LATENTS, CLUSTERS, 0.3)
    assert torch.equal(prior.loc, mixture.loc)
    assert torch.equal(prior.log_scale, mixture.log_scale)


def test_placed_each_cluster_has_its_codes_mean_and_total_variance():
    """Codes far apart in three groups: mean of the means; mean of the variances plus variance of the means."""
    group = torch.arange(60) % CLUSTERS
    means = 10 * LOCS[group] + torch.randn(60, LATENTS, dtype=torch.float64)
    variances = torch.rand(60, LATENTS, dtype=torch.float64) + 0.1
    prior, state = make_prior(), torch.get_rng_state()
    prior.place(means, variances)
    assert torch.equal(torch.get_rng_state(), state)
    order = torch.cdist(10 * LOCS, prior.loc).argmin(1)
    assert order.unique().numel() == CLUSTERS
    for k, found in enumerate(order):
        own = group == k
        torch.testing.assert_close(prior.loc[found], means[own].mean(0))
        expected = variances[own].mean(0) + means[own].var(0, correction=0)
        torch.testing.assert_close((2 * prior.log_scale[found]).exp(), expected)
    with pytest.raises(UserError, match="2 different codes of 2 images for 3 clusters; give more images"):
        prior.place(means[:2], variances[:2])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"clusters": 1}, "clusters=1: expected a whole number of at least 2"),
        ({"clusters": 2.0}, "clusters=2.0: expected a whole number"),
        ({"latents": 0}, "latents=0: expected"),
        ({"spread": 0}, "spread=0: expected a number between 0 and 1"),
        ({"spread": 1.0}, "spread=1.0: expected a number between 0 and 1"),
        ({"spread": float("nan")}, "spread=nan: expected a number between 0 and 1"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        ClusterPrior(**{"latents": 2, **options})
    assert "\n" not in str(error.value)


def test_codes_that_have_collapsed_place_nothing():
    prior = make_prior()
    with pytest.raises(UserError, match="1 different codes of 9 images for 3 clusters"):
        prior.place(torch.zeros(9, LATENTS).double(), torch.ones(9, LATENTS).double())
    assert torch.equal(prior.loc, LOCS)


def test_a_q_of_another_width_is_refused():
    with pytest.raises(UserError, match=r"q has event shape \(1,\), the clusters 2 latents"):
        make_prior().rates(Independent(Normal(torch.zeros(4, 1).double(), 1.0), 1))


def test_places_follow_the_seed():
    """In what order k-means finds the clusters is chance: one order a seed, and not one for all seeds."""
    prior, means = ClusterPrior(2, 5), torch.randn(60, 2)
    orders = []
    for seed in (0, 0, 1, 2):
        prior.place(means, torch.ones(60, 2), seed=seed)
        orders.append(prior.loc.detach().clone())
    assert torch.equal(orders[0], orders[1])
    assert not all(torch.equal(order, orders[0]) for order in orders[2:])
