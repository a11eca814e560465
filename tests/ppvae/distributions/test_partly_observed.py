"""Missing entries: nothing of the density, nothing of any gradient, and a support that has room for them."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, Program, check_pair
from ppvae.distributions import PartlyObserved
from ppvae.likelihoods import BernoulliLikelihood, CountLikelihood, RealLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder, RowEncoder
from ppvae.priors import NormalPrior

SHAPE, LATENTS, KEPT = (1, 1, 6), 2, [0, 2, 5]
LIKELIHOODS = {
    "normal": lambda decoder: RealLikelihood(decoder),
    "student_t": lambda decoder: RealLikelihood(decoder, "student_t"),
    "bernoulli": lambda decoder: BernoulliLikelihood(decoder, missing=True),
    "poisson": lambda decoder: CountLikelihood(decoder, "poisson"),
    "negative_binomial": lambda decoder: CountLikelihood(decoder),
}
PER_COLUMN = ("log_scale", "log_total")


@pytest.fixture(params=LIKELIHOODS)
def likelihood(request: pytest.FixtureRequest) -> nn.Module:
    return LIKELIHOODS[request.param](MLPDecoder(LATENTS, SHAPE, (8,)))


def rows(likelihood: nn.Module, count: int = 7) -> torch.Tensor:
    """Complete rows of the likelihood's own kind."""
    return likelihood(torch.randn(count, LATENTS)).sample()


def with_gaps(x: torch.Tensor) -> torch.Tensor:
    return x.masked_fill(torch.rand_like(x) < 0.4, math.nan)


def test_without_gaps_it_is_the_independent_density(likelihood):
    x = rows(likelihood)
    distribution = likelihood(torch.randn(7, LATENTS))
    assert torch.equal(distribution.log_prob(x), distribution.base_dist.to_event(3).log_prob(x))


def test_a_density_with_gaps_is_that_of_what_is_there(likelihood):
    """Summed by hand, entry by entry, to the rounding of six float32 terms."""
    x, distribution = with_gaps(rows(likelihood)), likelihood(torch.randn(7, LATENTS))
    entries = distribution.base_dist.log_prob(x.nan_to_num())
    expected = torch.stack([entries[i][~x[i].isnan()].sum() for i in range(7)])
    torch.testing.assert_close(distribution.log_prob(x), expected, rtol=1e-6, atol=1e-6)
    assert (distribution.log_prob(torch.full_like(x, math.nan)) == 0).all()


def test_missing_entries_have_gradients_of_exactly_zero(likelihood):
    x, z = with_gaps(rows(likelihood)), torch.randn(7, LATENTS)
    maps = likelihood.decoder(z).detach().requires_grad_()
    likelihood.decoder.forward = lambda _: maps
    likelihood(z).log_prob(x).sum().backward()
    assert (maps.grad[x.isnan()] == 0).all()
    assert (maps.grad[~x.isnan()] != 0).all()


class Partial(Program):
    """A guide that sees some columns alone."""

    def __init__(self, guide: nn.Module, columns: list[int]) -> None:
        super().__init__()
        self.guide, self.columns = guide, columns

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.guide(images[..., self.columns])


class Narrow(nn.Module):
    """A decoder's maps of some columns."""

    latents, image_shape = LATENTS, (1, 1, len(KEPT))

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.decoder(z)[..., KEPT]


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_bound_of_missing_columns_is_that_of_a_pair_without_them(name):
    """ELBO and all gradients, to the rounding of float64; those of what only the missing columns have are zero."""
    make = LIKELIHOODS[name]
    whole = make(MLPDecoder(LATENTS, SHAPE, (8,))).double()
    narrow = make(Narrow(whole.decoder)).double()
    for parameter in PER_COLUMN:
        if hasattr(whole, parameter):
            getattr(whole, parameter).data.normal_()
            getattr(narrow, parameter).data = getattr(whole, parameter).data[..., KEPT].clone()
    guide = Partial(MeanFieldNormal(MLPEncoder((1, 1, len(KEPT)), (8,)), LATENTS), KEPT).double()
    x = whole(torch.randn(5, LATENTS).double()).sample()
    gaps = torch.full_like(x, math.nan)
    gaps[..., KEPT] = x[..., KEPT]
    found = []
    for likelihood, images in ((whole, gaps), (narrow, gaps[..., KEPT])):
        pair = VAE(NormalPrior(LATENTS), likelihood), guide if likelihood is whole else guide.guide
        torch.manual_seed(1)
        loss, _ = BetaELBO().evaluate(*pair, (images,), torch.tensor([1.0]))
        shared = [*whole.decoder.parameters(), *guide.parameters()]
        found.append((loss, torch.autograd.grad(loss, shared)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)
    weight, bias = list(whole.decoder.parameters())[-2:]
    lost = [column for column in range(6) if column not in KEPT]
    gradients = dict(zip(map(id, shared), found[0][1], strict=True))
    assert (gradients[id(weight)][lost] == 0).all()
    assert (gradients[id(bias)][lost] == 0).all()


def test_an_encoder_does_not_see_what_is_missing():
    encoder = RowEncoder(SHAPE)
    x = torch.randn(3, *SHAPE)
    x[0, ..., 1] = math.nan
    features = encoder(x)
    assert torch.isfinite(features).all()
    zeros, seen = x.nan_to_num(), (~x.isnan()).float()
    assert torch.equal(features, encoder.encoder(torch.cat([zeros, seen], -3)))
    zero = x.clone()
    zero[0, ..., 1] = 0.0
    assert not torch.equal(features[0], encoder(zero)[0])  # an observed zero is told from a gap


def test_the_support_is_the_bases_or_missing():
    counts = PartlyObserved(dist.Poisson(torch.ones(SHAPE)), 3)
    inside = torch.tensor([0.0, math.nan, 3.0, 1.0, 2.0, 5.0]).reshape(SHAPE)
    assert counts.support.check(inside)
    for wrong in (-1.0, 0.5, math.inf):
        outside = inside.clone()
        outside[..., 0] = wrong
        assert not counts.support.check(outside)


def test_pairs_of_partly_observed_rows_are_checked_as_any():
    model = VAE(NormalPrior(LATENTS), RealLikelihood(MLPDecoder(LATENTS, SHAPE, (8,))))
    guide = MeanFieldNormal(RowEncoder(SHAPE), LATENTS)
    check_pair(model, guide, with_gaps(torch.randn(5, *SHAPE)))
