"""Codes exchanged, drawn anew and varied: against decoders that read one code alone."""

import pytest
import torch
from torch import nn

from guides import TwoViewGuide
from ppvae import TwoViewVAE, UserError, redraw, transfer_style, two_codes, vary
from ppvae.interventions.codes import global_moments
from ppvae.likelihoods import NormalLikelihood
from ppvae.models.transformations import PatchShuffle
from ppvae.networks import MLPEncoder
from ppvae.priors import ClusterPrior, NormalPrior

SHAPE = (1, 2, 4)
GLOBAL, LOCAL = 2, 3


class Stripes(nn.Module):
    """The first row of an image shows z_global, the second z_local, with zeros to fill them."""

    latents = GLOBAL + LOCAL
    image_shape = SHAPE
    maps = 1

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        z_global, z_local = z.split([GLOBAL, LOCAL], -1)
        rows = [nn.functional.pad(code, (0, SHAPE[2] - code.shape[-1])) for code in (z_global, z_local)]
        return torch.stack(rows, -2).unsqueeze(-3)


def pair(prior: nn.Module | None = None) -> tuple[TwoViewVAE, TwoViewGuide]:
    prior = prior or NormalPrior(GLOBAL, site="z_global")
    model = TwoViewVAE(prior, NormalPrior(LOCAL, site="z_local"), NormalLikelihood(Stripes(), 0.1), None, None)
    return model, TwoViewGuide(MLPEncoder(SHAPE, (8,)), MLPEncoder(SHAPE, (8,)), GLOBAL, LOCAL, None)


def shown(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both codes, read off the images, whose pixels are their sigmoids."""
    codes = images.logit()
    return codes[..., 0, 0, :GLOBAL], codes[..., 0, 1, :LOCAL]


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Up to what float32 keeps of a sigmoid within ±6: 1e-7 over its slope of 2e-3."""
    return torch.allclose(first, second, rtol=0, atol=1e-4)


def test_a_transfer_shows_the_global_code_of_the_image_and_the_local_code_of_the_style():
    model, guide = pair()
    images, styles = torch.rand(3, *SHAPE), torch.rand(2, *SHAPE)
    drawn = transfer_style(model, guide, images, styles)
    assert drawn.dims == ("style", "image", "channel", "row", "column")
    z_global, z_local = shown(torch.from_numpy(drawn.values))
    assert same(z_global, two_codes(guide, images)[0].expand(2, 3, GLOBAL))
    assert same(z_local, two_codes(guide, styles)[1][:, None].expand(2, 3, LOCAL))


@pytest.mark.parametrize("anew", [None, "z_global", "z_local"])
def test_a_code_drawn_anew_is_another_and_the_other_stays(anew):
    model, guide = pair()
    images = torch.rand(600, *SHAPE)  # more than are decoded at a time
    kept = dict(zip(("z_global", "z_local"), two_codes(guide, images, draw=True, seed=3), strict=True))
    found = dict(zip(("z_global", "z_local"), shown(redraw(model, guide, images, anew, seed=3)), strict=True))
    for name, code in found.items():
        assert same(code, kept[name]) is (name != anew)
    if anew is not None:  # N(0, I): of 1200 numbers or more the mean and the variance within five standard errors
        numbers = found[anew].flatten()
        assert abs(numbers.mean()) < 5 / len(numbers) ** 0.5
        assert abs(numbers.var() - 1) < 5 * (2 / len(numbers)) ** 0.5


def test_columns_vary_the_global_code_and_rows_the_local_one():
    model, _ = pair()
    block = vary(model, 4, 5, seed=1)
    assert block.dims == ("z_local", "z_global", "channel", "row", "column")
    z_global, z_local = shown(torch.from_numpy(block.values))
    assert torch.equal(z_global, z_global[:1].expand_as(z_global))
    assert torch.equal(z_local, z_local[:, :1].expand_as(z_local))
    assert len(z_global[0].unique(dim=0)) == 4
    assert len(z_local[:, 0].unique(dim=0)) == 5
    assert torch.equal(torch.from_numpy(vary(model, 4, 5, seed=1).values), torch.from_numpy(block.values))


def test_no_two_codes_come_from_one_stream():
    """Equal noise for both would tie the local code to the global one, within a block and with a code's own draw."""
    model, guide = pair()
    block = vary(model, 9, 6, seed=1)  # 18 numbers each
    z_global, z_local = shown(torch.from_numpy(block.values))
    drawn = z_global[0].flatten(), z_local[:, 0].flatten()
    assert (drawn[0] - drawn[1]).abs().min() > 1e-3
    images = torch.rand(6, *SHAPE)
    codes = dict(zip(("z_global", "z_local"), two_codes(guide, images, draw=True, seed=3), strict=True))
    means = dict(zip(("z_global", "z_local"), two_codes(guide, images), strict=True))
    deviations = dict(zip(("z_global", "z_local"), (v[1].sqrt() for v in both_moments(guide, images)), strict=True))
    for place, name in enumerate(codes):
        noise = ((codes[name] - means[name]) / deviations[name]).flatten()
        anew = shown(redraw(model, guide, images, name, seed=3))[place].flatten()
        assert (anew - noise).abs().max() > 0.1


def both_moments(guide: TwoViewGuide, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Means and variances of both codes, by hand: heads of means, then of log-variances."""
    heads = (guide.encoder_global, guide.head_global), (guide.encoder_local, guide.head_local)
    with torch.no_grad():
        halves = [head(encoder(images)).chunk(2, -1) for encoder, head in heads]
    return [(mean, log_variance.exp()) for mean, log_variance in halves]


def test_moments_of_the_codes_are_those_of_the_guide():
    """Of more images than are read at a time."""
    _, guide = pair()
    images = torch.rand(600, *SHAPE)
    moments = both_moments(guide, images)
    found = global_moments(guide, images)
    torch.testing.assert_close(found[0], moments[0][0])
    torch.testing.assert_close(found[1], moments[0][1])
    for code, (mean, _) in zip(two_codes(guide, images), moments, strict=True):
        torch.testing.assert_close(code, mean)


def test_a_clusters_images_come_from_its_normal():
    prior = ClusterPrior(GLOBAL, 3, site="z_global")
    with torch.no_grad():
        prior.loc.copy_(torch.tensor([[-4.0, 0], [0, 4], [4, 0]]))
        prior.log_scale.fill_(-3.0)
    model, _ = pair(prior)
    for cluster, loc in enumerate(prior.loc):
        z_global, _ = shown(torch.from_numpy(vary(model, 50, 1, cluster=cluster).values))
        assert (z_global - loc.detach()).abs().max() < 5 * 0.05  # five standard deviations, 100 numbers
    every, _ = shown(torch.from_numpy(vary(model, 50, 1).values))
    assert len(every[0].round().unique(dim=0)) == 3  # 50 draws miss one of three clusters once in 10^8


def test_a_shuffled_view_is_drawn_by_the_seed_and_nothing_else_moves():
    shuffle = PatchShuffle(1)
    guide = TwoViewGuide(MLPEncoder(SHAPE, (8,)), MLPEncoder(SHAPE, (8,)), GLOBAL, LOCAL, shuffle)
    images = torch.rand(20, *SHAPE)
    state, guide.encoder_local.training = torch.get_rng_state(), False
    first, again, other = (two_codes(guide, images, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    assert torch.equal(first[0], other[0])  # z_global sees no view
    assert torch.equal(torch.get_rng_state(), state)
    assert guide.training
    assert not guide.encoder_local.training


IMAGES = torch.zeros(2, *SHAPE)


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda: redraw(*pair(), IMAGES, "z"), "anew='z'"),
        (lambda: vary(pair()[0], 0, 1), "columns=0"),
        (lambda: vary(pair()[0], 1, 1, cluster=0), "NormalPrior has no clusters"),
        (lambda: vary(pair(ClusterPrior(GLOBAL, 3, site="z_global"))[0], 1, 1, cluster=3), "the model has 3"),
        (lambda: two_codes(pair()[1], IMAGES[:, :, :1]), "the pair's networks were built for"),
        (lambda: two_codes(nn.Identity(), IMAGES), "the guide draws no 'z_global'"),
    ],
)
def test_mistakes_end_in_one_line(ask, line):
    with pytest.raises(UserError, match=line) as caught:
        ask()
    assert "\n" not in str(caught.value)
