"""Free bits: the region without gradient, where the maximum stands, bounds; the soft weight's steering."""

import pytest
import torch

from ppvae import BetaELBO, FreeBits, SoftFreeBits, UserError, check_pair
from ppvae.pair.terms import Terms

RATES = torch.tensor([[0.1, 3.0, 0.4], [0.3, 1.0, 0.8]])  # means 0.2, 2.0, 0.6


def terms(rates: torch.Tensor, score: torch.Tensor | None = None) -> Terms:
    dims = ("latent",) if rates.dim() == 2 else ("map", "row", "column")
    return Terms(torch.tensor([10.0, 20.0]), {"z": (dims, rates)}, score, {}, pixels=4, latents=rates[0].numel())


def test_nothing_below_the_free_nats_has_a_gradient():
    rates = RATES.clone().requires_grad_()
    loss = FreeBits(nats=0.5).loss(terms(rates))
    assert loss.item() == pytest.approx(15 + 0.5 + 2.0 + 0.6)
    (gradient,) = torch.autograd.grad(loss, rates)
    assert torch.equal(gradient, torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]))


def test_the_batch_mean_stands_inside_the_maximum():
    """0.4 and 0.8 nats: their mean is above 0.5, one of them is not."""
    assert FreeBits(nats=0.5).loss(terms(RATES)).item() == pytest.approx(15 + 3.1)
    each = FreeBits(nats=0.5, per_image=True).loss(terms(RATES))
    assert each.item() == pytest.approx(15 + (0.5 + 3.0 + 0.5 + 0.5 + 1.0 + 0.8) / 2)


def test_groups_are_latents_maps_or_sites():
    maps = torch.tensor([[[[0.1, 0.3]], [[0.5, 0.7]]]]).expand(2, 2, 1, 2)  # two maps of 1 × 2
    expected = {"latent": 0.5 + 0.5 + 0.5 + 0.7, "map": 0.5 + 1.2, "site": 1.6}
    for group, value in expected.items():
        for per_image in (False, True):
            loss = FreeBits(nats=0.5, group=group, per_image=per_image).loss(terms(maps))
            assert loss.item() == pytest.approx(15 + value), (group, per_image)


def test_without_free_nats_it_is_the_elbo(build):
    pair = build("normal")
    values = []
    for objective in (FreeBits(nats=0.0), BetaELBO()):
        torch.manual_seed(3)
        values.append(objective(pair.model, pair.guide, pair.images))
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("group", ["latent", "site"])
def test_it_bounds_the_elbo_from_below(pair, group):
    for nats in (0.1, 1.0, 10.0):
        torch.manual_seed(3)
        elbo = -BetaELBO()(pair.model, pair.guide, pair.images)
        for per_image in (False, True):
            torch.manual_seed(3)
            bound = -FreeBits(nats=nats, group=group, per_image=per_image)(pair.model, pair.guide, pair.images)
            assert bound <= elbo + 1e-4


@pytest.mark.parametrize("per_image", [False, True])
def test_score_terms_weigh_only_what_is_charged(per_image):
    """∂loss/∂scoreᵢ: the distortion and the KL of groups above λ, less the other image's."""
    score = torch.zeros(2, requires_grad=True)
    (gradient,) = torch.autograd.grad(FreeBits(nats=0.5, per_image=per_image).loss(terms(RATES, score)), score)
    cost = torch.tensor([10 + 0.5 + 3.0 + 0.5, 20 + 0.5 + 1.0 + 0.8] if per_image else [10 + 3.4, 20 + 1.8])
    torch.testing.assert_close(gradient, (cost - cost.flip(0)) / 2)


def test_one_kl_as_a_whole_has_no_latents_to_group(build):
    pair = build("normal")
    check_pair(pair.model, pair.guide, pair.images, FreeBits())
    with pytest.raises(UserError, match=r"feature maps.*group='latent'"):
        check_pair(pair.model, pair.guide, pair.images, FreeBits(group="map"))


def test_the_soft_weight_follows_the_kl():
    """Down by a tenth below ``nats``, up above 1.05 times, still between; never above ``largest``."""
    objective = SoftFreeBits(nats=2.0)
    weights, rates = [], torch.full((2, 1), 1.0)
    for rate in (1.0, 1.0, 2.05, 3.0, 3.0, 3.0):
        loss = objective.loss(terms(rates * rate))
        weights.append(float(objective.state.weight))
    assert weights == pytest.approx([0.9, 0.81, 0.81, 0.891, 0.9801, 1.0])
    assert loss.item() == pytest.approx(15 + 0.9801 * 3.0)  # the weight before the step


def test_measuring_does_not_steer():
    objective = SoftFreeBits(nats=2.0)
    with torch.no_grad():
        objective.loss(terms(torch.ones(2, 1)))
    assert objective.state.weight == 1


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: FreeBits(nats=-1), "nats=-1.*at least zero"),
        (lambda: FreeBits(group="latents"), "group='latents'.*latent, map, site"),
        (lambda: FreeBits(estimator="x"), "estimator='x'"),
        (lambda: SoftFreeBits(rate=1.0), "rate=1.0.*between 0 and 1"),
        (lambda: SoftFreeBits(nats=-1), "nats=-1"),
        (lambda: SoftFreeBits(largest=0), "largest=0"),
    ],
)
def test_mistakes_are_named_in_one_line(make, match):
    with pytest.raises(UserError, match=match) as error:
        make()
    assert "\n" not in str(error.value)
