"""Controlled capacity: the ramp, the distance, and the β-VAE it becomes at C = 0."""

import pytest
import torch

from ppvae import BetaELBO, Capacity, UserError
from ppvae.pair.terms import Terms

RATES = torch.tensor([[1.0, 2.0], [0.0, 5.0]])  # of images 3 and 5, mean 4


def terms(score: torch.Tensor | None = None) -> Terms:
    return Terms(torch.tensor([10.0, 20.0]), {"z": (("latent",), RATES)}, score, {}, pixels=4, latents=2)


def test_the_capacity_rises_linearly():
    objective = Capacity(start=1.0, stop=5.0, steps=100)
    assert [objective.numbers(step) for step in (0, 50, 100, 1000)] == [(1.0,), (3.0,), (5.0,), (5.0,)]


def test_the_distance_is_that_of_the_batch_mean():
    for capacity, distance in ((0.0, 4.0), (4.0, 0.0), (4.5, 0.5)):
        loss = Capacity(gamma=7.0).loss(terms(), torch.tensor([capacity]))
        assert loss.item() == pytest.approx(15 + 7 * distance)
    each = Capacity(gamma=7.0, per_image=True).loss(terms(), torch.tensor([4.0]))
    assert each.item() == pytest.approx(15 + 7 * 1.0)


@pytest.mark.parametrize("per_image", [False, True])
def test_without_capacity_it_is_the_beta_vae(pair, per_image):
    """Values and gradients, score terms included."""
    results = []
    for objective in (Capacity(gamma=3.0, per_image=per_image), BetaELBO(beta=3.0)):
        torch.manual_seed(3)
        loss = objective.at(0)(pair.model, pair.guide, pair.images)
        parameters = [*pair.model.parameters(), *pair.guide.parameters()]
        results.append((loss, torch.autograd.grad(loss, parameters, allow_unused=True)))
    torch.testing.assert_close(results[0][0], results[1][0])
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("capacity", "sign"), [(3.0, 1.0), (6.0, -1.0)])
def test_score_terms_follow_the_side(capacity, sign):
    score = torch.zeros(2, requires_grad=True)
    loss = Capacity(gamma=7.0).loss(terms(score), torch.tensor([capacity]))
    (gradient,) = torch.autograd.grad(loss, score)
    cost = torch.tensor([10.0, 20.0]) + sign * 7 * torch.tensor([3.0, 5.0])
    torch.testing.assert_close(gradient, (cost - cost.flip(0)) / 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"gamma": 0}, "gamma=0.*above zero"), ({"stop": -1.0}, "stop=-1.0"), ({"steps": 0.5}, "steps=0.5.*whole")],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        Capacity(**options)
    assert "\n" not in str(error.value)
