"""PixelCNN++'s mixture of discretised logistics: the chain over channels summed out, its formula, its draws."""

import math

import pytest
import torch

from ppvae import UserError
from ppvae.distributions import DiscretisedLogistic, DiscretisedLogisticMixture
from ppvae.likelihoods import LogisticMixtureLikelihood

COMPONENTS = 4
VALUES = torch.arange(256, dtype=torch.float64) / 255


def parameters(channels: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Logits, means, log-scales and couplings of one pixel: overlapping components of every width."""
    generator = torch.Generator().manual_seed(channels)
    sizes = [(COMPONENTS,), *[(COMPONENTS, n) for n in (channels, channels, channels * (channels - 1) // 2)]]
    logits, means, log_scales, couplings = (
        torch.randn(*size, 1, 1, generator=generator, dtype=torch.float64) for size in sizes
    )
    return [tensor.to(dtype) for tensor in (logits, 0.5 + 0.4 * means, log_scales - 3, couplings.tanh())]


def first_channels(arguments: list[torch.Tensor], channels: int) -> DiscretisedLogisticMixture:
    """The mixture of a pixel's first channels, which knows nothing of the others."""
    logits, means, log_scales, couplings = arguments
    pairs = channels * (channels - 1) // 2
    return DiscretisedLogisticMixture(
        logits, means[:, :channels], log_scales[:, :channels], couplings[:, :pairs], validate_args=True
    )


def with_every_last(values: tuple[float, ...], dtype: torch.dtype) -> torch.Tensor:
    """256 pixels (256, C, 1, 1): the first channels as given, the last at each level."""
    fixed = torch.tensor(values, dtype=dtype).expand(256, -1)
    return torch.cat([fixed, VALUES.to(dtype)[:, None]], 1)[..., None, None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("seen", [(), (0.0,), (77 / 255,), (1.0, 0.0), (50 / 255, 150 / 255), (0.2, 1.0, 0.6)])
def test_each_channel_given_the_earlier_ones_sums_to_one(seen, dtype, tolerance):
    """Σ p(…, last) = p(…): with one channel it is one, with two it is p(red), with three p(red, green)."""
    arguments = parameters(4, dtype)
    channels = len(seen) + 1
    joint = first_channels(arguments, channels).log_prob(with_every_last(seen, dtype)).logsumexp(0)
    marginal = torch.zeros((), dtype=dtype)
    if seen:
        pixel = torch.tensor(seen, dtype=dtype)[:, None, None]
        marginal = first_channels(arguments, channels - 1).log_prob(pixel)
    assert (joint - marginal).exp().item() == pytest.approx(1, abs=tolerance)


def test_two_channels_sum_to_one_over_all_colours():
    distribution = first_channels(parameters(2), 2)
    colours = torch.cartesian_prod(VALUES, VALUES)[..., None, None]
    assert distribution.log_prob(colours).exp().sum().item() == pytest.approx(1, abs=1e-10)  # of 65 536 terms


def test_one_component_without_coupling_is_the_discretised_logistic():
    means, log_scales = torch.randn(1, 3, 4, 5), torch.randn(1, 3, 4, 5) - 3
    mixture = DiscretisedLogisticMixture(torch.randn(1, 4, 5), means, log_scales, torch.zeros(1, 3, 4, 5))
    alone = DiscretisedLogistic(means[0], log_scales[0]).to_event(3)
    x = torch.randint(256, (6, 3, 4, 5)) / 255
    torch.testing.assert_close(mixture.log_prob(x), alone.log_prob(x))
    torch.testing.assert_close(mixture.mean, alone.mean)


def test_the_likelihood_by_pixelcnns_formula(constant):
    """On 2x − 1, bins of half-width 1/255, one component for all channels: by loops, in double precision."""
    maps = torch.randn(30, 2, 2, dtype=torch.float64)
    x = torch.randint(256, (5, 3, 2, 2)).double() / 255
    x[0] = x[0].round()  # edges too
    got = LogisticMixtureLikelihood(constant(maps, channels=3), components=3)(torch.zeros(5, 3)).log_prob(x)

    def mass(value: float, mean: float, scale: float) -> float:
        upper = 1.0 if value == 1 else 1 / (1 + math.exp(-(value + 1 / 255 - mean) / scale))
        lower = 0.0 if value == -1 else 1 / (1 + math.exp(-(value - 1 / 255 - mean) / scale))
        return upper - lower

    for image, log_prob in zip(2 * x - 1, got, strict=True):
        expected = 0.0
        for row in range(2):
            for column in range(2):
                red, green, blue = image[:, row, column].tolist()
                pixel = maps[:, row, column].unflatten(0, (3, 10))
                weights = pixel[:, 0].softmax(0).tolist()
                total = 0.0
                for weight, (_, mr, mg, mb, sr, sg, sb, a, b, c) in zip(weights, pixel.tolist(), strict=True):
                    of_green = mg + math.tanh(a) * red
                    of_blue = mb + math.tanh(b) * red + math.tanh(c) * green
                    channels = [(red, mr, sr), (green, of_green, sg), (blue, of_blue, sb)]
                    total += weight * math.prod(mass(value, m, math.exp(s)) for value, m, s in channels)
                expected += math.log(total)
        assert log_prob.item() == pytest.approx(expected, rel=1e-9)


def test_draws_of_two_channels_have_the_joint_masses():
    """Colours counted in 8 × 8 boxes of 32 levels a side, each within 5 standard errors, the rare ones pooled."""
    distribution, draws = first_channels(parameters(2), 2), 100_000
    colours = torch.cartesian_prod(VALUES, VALUES)[..., None, None]
    p = distribution.log_prob(colours).exp().reshape(8, 32, 8, 32).sum((1, 3)).flatten()
    boxes = ((distribution.sample((draws,)).flatten(1) * 255).round().long() // 32) @ torch.tensor([8, 1])
    counts, expected = boxes.bincount(minlength=64).double(), draws * p
    rare = expected < 25
    counts, expected = (torch.cat([t[~rare], t[rare].sum()[None]]) for t in (counts, expected))
    assert len(counts) > 20
    assert ((counts - expected).abs() <= 5 * (expected * (1 - expected / draws)).sqrt()).all()


def test_blue_follows_red_and_green(within_errors):
    """b − m_b − a(r − ½) − c(g − ½) is centred, of the logistic's variance (πs)²/3, and independent of r and g."""
    scale, couplings = 0.02, torch.tensor([0.5, -0.8, 0.6]).reshape(1, 3, 1, 1)
    distribution = DiscretisedLogisticMixture(
        torch.zeros(1, 1, 1), torch.full((1, 3, 1, 1), 0.5), torch.full((1, 3, 1, 1), math.log(scale)), couplings
    )
    red, green, blue = distribution.sample((100_000,)).flatten(1).T - 0.5
    for residual, others in ((green - 0.5 * red, [red]), (blue + 0.8 * red - 0.6 * green, [red, green])):
        variance = (math.pi * scale) ** 2 / 3
        within_errors(residual.square(), variance + 1 / 12 / 255**2, resolution=0.05)  # and of the rounding
        for other in (*others, torch.ones_like(residual)):
            products = residual * other
            assert abs(products.mean()) <= 5 * products.std() / len(products) ** 0.5


def test_a_pixel_draws_one_component_for_all_its_channels():
    """Two far components: red and green are both dark or both bright, and pixels choose independently."""
    means = torch.tensor([0.2, 0.8])[:, None, None, None].expand(2, 2, 1, 2)
    mixture = DiscretisedLogisticMixture(
        torch.zeros(2, 1, 2), means, torch.full_like(means, -5.0), torch.zeros(2, 1, 1, 2)
    )
    bright = mixture.sample((4000,)) > 0.5
    assert torch.equal(bright[:, 0], bright[:, 1])
    together = (bright[:, 0, 0, 0] == bright[:, 0, 0, 1]).float().mean().item()
    assert together == pytest.approx(0.5, abs=5 * 0.5 / 4000**0.5)


def test_mean_of_the_first_channel_is_exact():
    arguments = parameters(3)
    p = first_channels(arguments, 1).log_prob(VALUES[:, None, None, None]).exp()
    expected = (p * VALUES).sum().item()
    assert first_channels(arguments, 1).mean.item() == pytest.approx(expected, abs=1e-12)
    assert first_channels(arguments, 3).mean[0].item() == pytest.approx(expected, abs=1e-12)


def test_means_of_later_channels_keep_the_symmetry_of_their_points():
    """Red about ½ of every width, and green that follows it: about ½ by symmetry, whatever the quantiles' number."""
    locs = torch.full((1, 2, 1, 5), 0.5, dtype=torch.float64)
    widths = torch.tensor([-5.0, -4.0, -3.0, -2.0, -1.0], dtype=torch.float64)
    log_scales = torch.stack([widths, torch.full((5,), -3.0).double()])[None, :, None]
    coupled = DiscretisedLogisticMixture(torch.zeros(1, 1, 5).double(), locs, log_scales, 0.9 + 0 * locs[:, :1])
    torch.testing.assert_close(coupled.mean, locs[0], rtol=0, atol=1e-9)


def test_a_channels_quantiles_are_of_its_own_scale():
    """Blue follows green alone, which is ten times as wide as red: the clipped logistic's mean of blue at every level
    of green, weighed by green's own mass."""
    log_scales = torch.tensor([-4.5, -2.0, -3.0]).double()[None, :, None, None]
    locs = torch.tensor([0.5, 0.8, 0.3]).double()[None, :, None, None]
    couplings = torch.tensor([0.0, 0.0, -0.9]).double()[None, :, None, None]
    found = DiscretisedLogisticMixture(torch.zeros(1, 1, 1).double(), locs, log_scales, couplings).mean
    green = DiscretisedLogistic(locs[0, 1], log_scales[0, 1]).log_prob(VALUES[:, None, None]).exp().flatten()
    blue = DiscretisedLogistic(0.3 - 0.9 * (VALUES - 0.5), log_scales[0, 2].flatten()).mean
    assert found[2].item() == pytest.approx(float(green @ blue), abs=0.5 / 255)
    assert float((green @ blue) - (0.3 - 0.9 * 0.3)) > 1 / 255  # what a narrow green would give


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_means_of_later_channels_are_within_half_a_level(strength):
    """Green and blue by all 65 536 values of red and green; components wide, narrow and beyond black and white."""
    arguments = parameters(3)
    arguments[3] = strength * arguments[3]
    distribution, (logits, means, log_scales, couplings) = first_channels(arguments, 3), arguments
    red, green = torch.cartesian_prod(VALUES, VALUES).T[:, :, None, None, None]
    of_green = means[:, 1] + couplings[:, 0] * (red - 0.5)
    of_blue = means[:, 2] + couplings[:, 1] * (red - 0.5) + couplings[:, 2] * (green - 0.5)
    log_p = DiscretisedLogistic(means[:, 0], log_scales[:, 0]).log_prob(red)
    log_p = log_p + DiscretisedLogistic(of_green, log_scales[:, 1]).log_prob(green)
    joint = (logits.softmax(0) * log_p.exp()).flatten(1)
    blue = DiscretisedLogistic(of_blue, log_scales[:, 2]).mean.flatten(1)
    expected = torch.stack([(joint * channel.flatten(1)).sum() for channel in (red, green, blue)])
    error = (distribution.mean.flatten() - expected).abs()
    assert error[0] < 1e-10
    assert (error < 0.5 / 255).all()
    plain = DiscretisedLogisticMixture(logits, means, log_scales, torch.zeros_like(couplings)).mean
    shifts = (distribution.mean - plain).flatten().abs()
    assert (shifts[1:] >= strength * 5 / 255).all(), "the couplings do not matter here"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_at_extremes(dtype):
    leaves = [
        torch.tensor([-200.0, 0.0, 200.0], dtype=dtype).reshape(3, 1, 1),
        torch.tensor([-1e4, 0.5, 1e4], dtype=dtype).reshape(3, 1, 1, 1).repeat(1, 3, 1, 1),
        torch.tensor([-200.0, -7.0, 100.0], dtype=dtype).reshape(1, 3, 1, 1).repeat(3, 1, 1, 1),
        torch.ones(3, 3, 1, 1, dtype=dtype),
    ]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    for level in (0, 1, 128, 254, 255):
        log_prob = DiscretisedLogisticMixture(*leaves).log_prob(torch.full((3, 1, 1), level / 255, dtype=dtype))
        assert torch.isfinite(log_prob)
        assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(log_prob, leaves))


@pytest.mark.parametrize(("channels", "per_component"), [(1, 3), (2, 6), (3, 10), (4, 15)])
def test_maps_a_component(channels, per_component, constant):
    assert per_component == 1 + 2 * channels + channels * (channels - 1) // 2
    assert LogisticMixtureLikelihood.decoder_maps(channels) == 10 * per_component
    assert LogisticMixtureLikelihood.decoder_maps(channels, components=3) == 3 * per_component
    likelihood = LogisticMixtureLikelihood(constant(torch.randn(3 * per_component, 4, 5), channels), components=3)
    assert likelihood(torch.zeros(2, 3)).sample().shape == (2, channels, 4, 5)


@pytest.mark.parametrize("components", [0, -1, 2.5])
def test_components_are_a_count(components, constant):
    with pytest.raises(UserError, match=f"components={components}: expected") as error:
        LogisticMixtureLikelihood(constant(torch.zeros(3, 4, 5)), components=components)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("maps", "match"), [(31, "31 maps; .* multiple of 3"), (24, "8 maps a component; .*needs 3")])
def test_a_foreign_decoder_is_refused_when_it_draws(maps, match, constant):
    likelihood = LogisticMixtureLikelihood(constant(torch.zeros(maps, 4, 5), channels=3), components=3)
    with pytest.raises(UserError, match=match) as error:
        likelihood(torch.zeros(2, 3))
    assert "\n" not in str(error.value)
