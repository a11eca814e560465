"""Latents alone: the prior's draws without any image, and what discrete sites are held at."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from guides import MeanFieldNormal
from ppvae import VAE, from_pyro_svi
from ppvae.distributions import Membership, RelaxedMembership
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.posterior.image_groups import _most_probable
from ppvae.priors import NormalPrior


def one_hot(logits):
    return dist.OneHotCategorical(logits=logits)


def relaxed(logits):
    return RelaxedMembership(torch.tensor(0.3), logits=logits)


@pytest.mark.parametrize(
    ("of_guide", "of_model", "expected"),
    [
        (lambda x: dist.Categorical(logits=x), lambda: dist.Categorical(torch.ones(3)), [2, 0]),
        (one_hot, lambda: dist.OneHotCategorical(torch.ones(3)), [[0, 0, 1], [1, 0, 0]]),
        (relaxed, lambda: Membership(torch.ones(3)), [[0, 0, 1], [1, 0, 0]]),
    ],
)
def test_the_most_probable_value_of_a_discrete_site_stands_beside_its_moments(of_guide, of_model, expected):
    logits = torch.tensor([[-3.0, -1.0, 5.0], [4.0, -2.0, -1.0]])

    def model(images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            pyro.sample("k", of_model())
            pyro.sample("x", dist.Normal(torch.zeros_like(images), 1.0).to_event(3), obs=images)

    def guide(images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            pyro.sample("k", of_guide(logits))

    stats = from_pyro_svi(model, guide, torch.zeros(2, 1, 1, 1), 5)["sample_stats"]
    np.testing.assert_array_equal(stats["k_mode"], expected)
    assert not any(array.isnull().any() for array in stats.data_vars.values())


def test_independent_binary_latents_each_have_their_most_probable_value():
    """Over two draws: 0.4 and 0.9 are more often one, 0.4 and 0.5 are not."""
    q = dist.Bernoulli(torch.tensor([[[0.4, 0.4]], [[0.9, 0.5]]])).to_event(1)
    site = {"fn": q, "value": q.sample()}
    assert _most_probable(site, q, q.mean).tolist() == [[1, 0]]


def test_the_prior_is_drawn_without_any_image():
    """Neither pixels nor a decoder: both stand behind the last latent."""
    decoded = []
    likelihood = NormalLikelihood(MLPDecoder(3, (1, 4, 4), (8,)))
    likelihood.decoder.register_forward_hook(lambda _, given, __: decoded.append(given[0].shape[:-1]))
    model, guide = VAE(NormalPrior(3), likelihood), MeanFieldNormal(MLPEncoder((1, 4, 4), (8,)), 3)
    tree = from_pyro_svi(model, guide, torch.rand(2, 1, 4, 4), 5)
    assert tree["prior"]["z"].shape == (1, 1024, 3)
    assert max(shape.numel() for shape in decoded) == 10  # two images, five draws
