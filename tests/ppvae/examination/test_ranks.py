"""Ranks of simulated latents: uniform where the guide is the posterior, discrete sites and all."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

from ppvae.diagnostics import calibration_tests
from ppvae.errors import UserError
from ppvae.examination.ranks import rank_simulations

LOADING, NOISE = torch.tensor([1.0, -0.5, 2.0, 0.3]).double(), 0.8
PRECISION = 1 + (LOADING**2).sum() / NOISE**2
IMAGE = torch.zeros(1, 1, 2, 2).double()


def model(images: torch.Tensor) -> None:
    """One real latent: z ~ N(0, 1), x | z ~ N(az, σ²I)."""
    with pyro.plate("image", len(images), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(1).double(), 1.0).to_event(1), infer={"event_dims": ["latent"]})
        pyro.sample("x", dist.Normal((z * LOADING).unflatten(-1, (1, 2, 2)), NOISE).to_event(3), obs=images)


def guide_of(shift: float = 0.0, scale: float = 1.0):
    def guide(images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", len(images), dim=-1):
            mean = images.flatten(1) @ LOADING[:, None] / NOISE**2 / PRECISION
            deviation = PRECISION.rsqrt()
            normal = dist.Normal(mean + shift * deviation, scale * deviation).to_event(1)
            return pyro.sample("z", normal, infer={"event_dims": ["latent"]})

    return guide


def mixture(images: torch.Tensor) -> None:
    """A binary cluster, then pixels that are 1 with probability 0.2 or 0.7."""
    with pyro.plate("image", len(images), dim=-1):
        cluster = pyro.sample("cluster", dist.Bernoulli(torch.tensor(0.3).double()))
        probability = (0.2 + 0.5 * cluster)[..., None, None, None]
        pyro.sample("x", dist.Bernoulli(probability.expand(*cluster.shape, 1, 2, 2)).to_event(3), obs=images)


def exact_cluster(images: torch.Tensor) -> None:
    with pyro.plate("image", len(images), dim=-1):
        ones = images.flatten(1).sum(1)
        logit = np.log(0.3 / 0.7) + ones * np.log(0.7 / 0.2) + (4 - ones) * np.log(0.3 / 0.8)
        pyro.sample("cluster", dist.Bernoulli(logits=logit))


@pytest.mark.parametrize("draws", [1, 9, 200])
def test_the_exact_guides_ranks_are_uniform_for_any_number_of_draws(draws):
    """Three seeds at 1e-4 each: a false alarm of the test has a chance of 3e-4."""
    for seed in range(3):
        ranks = rank_simulations(model, guide_of(), IMAGE, 600, draws, seed=seed)["z"]
        assert ranks.dims == ("simulation", "latent")
        assert ranks.sizes == {"simulation": 600, "latent": 1}
        assert stats.kstest(ranks[:, 0], "uniform").pvalue > 1e-4


@pytest.mark.parametrize("draws", [1, 30])
def test_ties_of_a_discrete_site_are_broken_evenly(draws):
    for seed in range(3):
        ranks = rank_simulations(mixture, exact_cluster, IMAGE, 600, draws, seed=seed)["cluster"]
        assert ranks.dims == ("simulation",)
        assert stats.kstest(ranks, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("shift", "scale"), [(0.5, 1.0), (0.0, 0.5), (-1.0, 2.0)])
def test_a_wrong_guides_ranks_are_those_of_its_normal(shift, scale):
    """z* ~ N(m, s²) given x, so that p = Φ((ε − shift)/scale) with many draws: within a KS test at 1e-4."""
    ranks = rank_simulations(model, guide_of(shift, scale), IMAGE, 500, 2000, batch_size=100_000)["z"][:, 0]
    scores = stats.norm.ppf(ranks.values)
    near = np.abs(scores) < 3  # 2 000 draws reach so far
    edge = stats.norm.cdf(np.array([-3, 3]) * scale + shift)
    truth = (stats.norm.cdf(scores[near] * scale + shift) - edge[0]) / (edge[1] - edge[0])
    assert stats.kstest(truth, "uniform").pvalue > 1e-4
    found = calibration_tests(ranks.to_dataset())
    assert float(found["mean"].item()) == pytest.approx(stats.norm.cdf(-shift / np.sqrt(1 + scale**2)), abs=0.06)


def test_a_guide_equal_to_the_prior_is_uniform_too():
    """The blind spot that the docstring names."""

    def prior(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(1).double(), 1.0).to_event(1))

    ranks = rank_simulations(model, prior, IMAGE, 600, 50)["z"][:, 0]
    assert stats.kstest(ranks, "uniform").pvalue > 1e-4


def test_one_seed_one_result_and_nothing_changes(build):
    for name in ("normal", "normal-gamma implicit", "normal-gamma g-rep"):
        pair = build(name, "bernoulli")
        state = torch.get_rng_state()
        ranks = rank_simulations(pair.model, pair.guide, pair.images, 30, 20, batch_size=200, seed=4)
        assert torch.equal(torch.get_rng_state(), state)
        assert pair.model.training
        assert pair.guide.training
        assert set(ranks) == ({"z"} if name == "normal" else {"z", "precision"})
        assert ranks["z"].sizes == {"simulation": 30, "latent": 3}
        assert ranks.equals(rank_simulations(pair.model, pair.guide, pair.images, 30, 20, batch_size=200, seed=4))
        assert not ranks.equals(rank_simulations(pair.model, pair.guide, pair.images, 30, 20, batch_size=200, seed=5))


def test_the_images_given_do_not_matter():
    first, second = (rank_simulations(model, guide_of(), IMAGE + k, 25, 10) for k in (0.0, 100.0))
    assert first.equals(second)


def test_mistakes_are_named_in_one_line():
    def two_views(images: torch.Tensor) -> None:
        model(images)
        zeros = torch.zeros(len(images)).double()
        pyro.sample("y", dist.Normal(zeros, 1.0), obs=zeros)

    with pytest.raises(UserError, match=r"observes 'x' of shape \(1, 2, 2\), 'y'.*one site of shape \(1, 2, 2\)"):
        rank_simulations(two_views, guide_of(), IMAGE, 20, 10)
    with pytest.raises(UserError, match="simulations=0"):
        rank_simulations(model, guide_of(), IMAGE, 0)
    with pytest.raises(UserError, match=r"images have shape \(2, 2\)"):
        rank_simulations(model, guide_of(), IMAGE[0, 0])
