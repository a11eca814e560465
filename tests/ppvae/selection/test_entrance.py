"""Where the first latent enters, against the closed form and against what is best on either side."""

import pytest
import torch

from ppvae import VAE, UserError
from ppvae.datasets import sprites
from ppvae.likelihoods import BernoulliLikelihood, CategoricalLikelihood, NormalLikelihood
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
    ],
)
def test_what_has_no_known_entrance_is_said_in_one_line(program, data, match):
    with pytest.raises(UserError, match=match) as error:
        entrance(program, data)
    assert "\n" not in str(error.value)
