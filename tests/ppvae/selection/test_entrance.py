"""Where the first latent enters, against the closed form and against what is best on either side."""

import pytest
import torch

from ppvae import VAE, UserError
from ppvae.datasets import sprites
from ppvae.likelihoods import BernoulliLikelihood, CategoricalLikelihood, NormalLikelihood, RealLikelihood
from ppvae.networks import MLPDecoder
from ppvae.priors import NormalPrior
from ppvae.selection import entrance

SHAPE = (1, 4, 4)


def model(likelihood=NormalLikelihood, **options) -> VAE:
    maps = 256 if likelihood is CategoricalLikelihood else 1
    return VAE(NormalPrior(2), likelihood(MLPDecoder(2, SHAPE, hidden=[4], maps=maps), **options))


def images(count: int = 3000) -> torch.Tensor:
    draws = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(3))
    return draws.cumsum(-1) / 4


@pytest.mark.parametrize("count", [10, 3000])
def test_of_normal_pixels_it_is_the_largest_eigenvalue_over_the_variance(count):
    """Both ways round the Gram matrix; of at most 2 048 images."""
    seen = images(count)[:2048].flatten(1).double()
    expected = torch.linalg.eigvalsh(torch.cov(seen.T, correction=0))[-1] / 0.2**2
    assert entrance(model(scale=0.2), images(count)) == pytest.approx(float(expected), rel=1e-5)


def test_below_it_a_linear_code_is_better_than_none_and_above_it_none_is():
    """−ELBO at weight β of x̂ = m + W z with one latent along the first axis, best scale of q, less that of no code.

    With eigenvalue λ, decoder gain w and posterior variance v the gain is ½ (λ_explained)/σ² − β KL, maximised here
    over w, the encoder's slope a and v by a grid: positive exactly where β is below λ/σ².
    """
    top, variance = 0.3, 0.2**2
    w, a, v = torch.meshgrid(*(torch.linspace(0.002, 1.2, 70, dtype=torch.float64) for _ in range(3)), indexing="ij")
    cost = (top * (1 - w * a) ** 2 + w**2 * v - top) / (2 * variance)
    kl = 0.5 * (a**2 * top + v - 1 - v.log())
    entering = top / variance
    assert float((cost + 0.93 * entering * kl).min()) < 0
    assert float((cost + 1.02 * entering * kl).min()) > 0


def test_of_bernoulli_pixels_it_is_the_correlations_eigenvalue():
    """Pixels that never change say nothing, and copies of one pixel are one direction."""
    bit = (torch.rand(2000, 1, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    same = torch.cat([bit.expand(-1, 4), torch.zeros(2000, 12)], 1).unflatten(1, SHAPE)
    assert entrance(model(BernoulliLikelihood), same) == pytest.approx(4.0, rel=1e-9)


def table(count: int = 3000) -> torch.Tensor:
    """Rows of 16 columns that two factors move, in units that differ, a constant one among them."""
    random = torch.Generator().manual_seed(5)
    weight, units = torch.randn(2, 16, generator=random), 10 ** torch.linspace(-1, 2, 16)
    values = torch.randn(count, 2, generator=random) @ weight + torch.randn(count, 16, generator=random)
    values[:, 3] = 1.0
    return (units * values)[:, None, None]


def real(noise: str = "column", tails: str = "normal") -> VAE:
    decoder = MLPDecoder(2, (1, 1, 16), hidden=[4], maps=2 if noise == "entry" else 1)
    return VAE(NormalPrior(2), RealLikelihood(decoder, tails, noise=noise))


def test_of_real_columns_it_is_the_eigenvalue_of_their_correlation_whatever_their_units():
    seen = table()[:2048].flatten(1).double()[:, torch.arange(16) != 3]
    correlation, covariance = torch.corrcoef(seen.T), torch.cov(seen.T, correction=0)
    assert entrance(real(), table()) == pytest.approx(float(torch.linalg.eigvalsh(correlation)[-1]), rel=1e-5)
    expected = 16 * torch.linalg.eigvalsh(covariance)[-1] / covariance.trace()  # over all 16 columns' mean variance
    assert entrance(real("all"), table()) == pytest.approx(float(expected), rel=1e-5)


def test_below_it_a_linear_code_pays_though_the_scales_are_learned_and_above_it_none_does():
    """Against all of one latent, t = aᵀx and noise that leaves it a share y of its variance: column j is then left
    1 − y·c_j of its own, c_j its squared correlation with aᵀx, and the rate is −½·log(1 − y)."""
    seen = table()[:2048].flatten(1).double()[:, torch.arange(16) != 3]
    correlation = torch.corrcoef(seen.T)
    top = torch.linalg.eigh(correlation)[1][:, -1]
    random = torch.randn(4000, 15, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    codes = torch.cat([top[None], top + 0.3 * random, random])
    squared = (codes @ correlation) ** 2 / ((codes @ correlation) * codes).sum(1, keepdim=True)
    share = torch.logspace(-6, -0.001, 60, dtype=torch.float64)
    gain = -0.5 * torch.log1p(-share[:, None, None] * squared.clamp(max=1)).sum(-1)
    worth = gain / (-0.5 * torch.log1p(-share))[:, None]
    assert float(worth.max()) == pytest.approx(entrance(real(), table()), rel=1e-4)


def test_with_missing_entries_a_linear_code_starts_to_pay_there():
    """−ELBO at weight β of x = W z + ε with the best guide given what is observed of a row, Gaussian integrals: at
    W = 0 it curves up in all directions above the entrance, and down in one below."""
    gaps = torch.rand(400, 1, 1, 16, generator=torch.Generator().manual_seed(9)) < torch.linspace(0.0, 0.6, 16)
    holed = torch.where(gaps, torch.nan, table(400))
    seen = holed.flatten(1).double()[:, torch.arange(16) != 3]
    seen = (seen - seen.nanmean(0)) / ((seen - seen.nanmean(0)) ** 2).nanmean(0).sqrt()
    there, values = (~seen.isnan()).double(), seen.nan_to_num(0.0)

    def loss(weight: torch.Tensor, beta: float) -> torch.Tensor:
        precision, pull = 1 + there @ weight**2 / beta, values @ weight / beta
        return beta * (0.5 * precision.log() - 0.5 * pull**2 / precision).mean()

    start, nothing = entrance(real(), holed), torch.zeros(15, dtype=torch.float64)
    for factor, pays in ((1.001, False), (0.999, True)):
        curvature = torch.autograd.functional.hessian(lambda w, beta=factor * start: loss(w, beta), nothing)
        assert bool(torch.linalg.eigvalsh(curvature)[0] < 0) is pays


def test_a_data_set_is_read_as_the_model_reads_it():
    data = sprites(size=64, image_size=32, seed=0)
    program = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, data.image_shape, hidden=[4]), scale=0.1))
    assert entrance(program, data) == pytest.approx(entrance(program, data.images), rel=1e-6)


@pytest.mark.parametrize(
    ("program", "data", "match"),
    [
        (model(), torch.full((9, *SHAPE), 0.5), "the images do not differ"),
        (model(CategoricalLikelihood), images(9), "start: .*not for CategoricalLikelihood; give start="),
        (model(scale_mode="learned"), images(9), "normal pixels of a fixed scale.*give start="),
        (real(tails="student_t"), table(9), "noise=column or all, not for RealLikelihood; give start="),
        (real("entry"), table(9), "noise=column or all, not for RealLikelihood; give start="),
    ],
)
def test_what_has_no_known_entrance_is_said_in_one_line(program, data, match):
    with pytest.raises(UserError, match=match) as error:
        entrance(program, data)
    assert "\n" not in str(error.value)
