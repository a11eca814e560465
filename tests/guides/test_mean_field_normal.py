"""The diagonal normal guide: what its heads mean, and the closed form of its rate."""

import torch
from pyro import poutine
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder
from ppvae.priors import NormalPrior


class Features(nn.Module):
    """An encoder that returns its images, flattened."""

    features = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


def test_heads_are_the_mean_and_the_log_variance():
    guide, images = MeanFieldNormal(Features(), 3), torch.randn(5, 1, 2, 2)
    posterior, features = guide.posterior(images), images.flatten(1)
    torch.testing.assert_close(posterior.mean, guide.loc(features))
    torch.testing.assert_close(posterior.variance.log(), guide.log_variance(features))
    assert (posterior.batch_shape, posterior.event_shape) == ((5,), (3,))


def test_site_draws_from_the_posterior(within_errors):
    guide, image = MeanFieldNormal(Features(), 3), torch.randn(1, 1, 2, 2)
    site = poutine.trace(guide).get_trace(image.expand(20_000, 1, 2, 2)).nodes["z"]
    posterior = guide.posterior(image)
    assert site["infer"]["event_dims"] == ["latent"]
    within_errors(site["value"].detach(), posterior.mean[0].detach(), resolution=0.5)
    squares = (site["value"] - posterior.mean).square().detach()
    within_errors(squares, posterior.variance[0].detach(), resolution=0.1)


def test_rate_is_half_the_sum_of_squares_and_variances():
    """½(μ² + σ² − log σ² − 1), latent by latent; zero at the prior alone."""
    guide, images = MeanFieldNormal(Features(), 3), torch.randn(5, 1, 2, 2)
    model = VAE(NormalPrior(3), NormalLikelihood(MLPDecoder(3, (1, 2, 2), (8,))))
    mean, log_variance = guide.loc(images.flatten(1)), guide.log_variance(images.flatten(1))
    expected = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
    torch.testing.assert_close(BetaELBO().measure(model, guide, images).rates["z"][1], expected)
    for parameter in [*guide.loc.parameters(), *guide.log_variance.parameters()]:
        nn.init.zeros_(parameter)
    assert not BetaELBO().measure(model, guide, images).rate.any()
