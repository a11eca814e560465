"""The annealing weight of every objective: on the value and on the cost of score functions, and on nothing else."""

import pytest
import torch

from ppvae import Annealed, BetaELBO, Capacity, FreeBits, SoftFreeBits, TotalCorrelation
from ppvae.pair.terms import Terms

DISTORTION = torch.tensor([10.0, 20.0, 12.0])
RATES = torch.tensor([[0.1, 3.0], [0.3, 1.0], [2.0, 0.4]])
PARTS = ("mutual_information", "total_correlation", "marginal_kl")
OBJECTIVES = {
    "beta": lambda: BetaELBO(beta=3.0),
    "normalised beta": lambda: BetaELBO(beta_norm=0.5),
    "free bits": lambda: FreeBits(nats=0.9),
    "free bits of each image": lambda: FreeBits(nats=0.9, per_image=True),
    "free bits of a site": lambda: FreeBits(nats=0.9, group="site"),
    "soft free bits": lambda: SoftFreeBits(nats=3.0, rate=0.3, largest=2.0),
    "capacity": lambda: Capacity(gamma=3.0),
    "capacity of each image": lambda: Capacity(gamma=3.0, per_image=True),
    "total correlation": lambda: TotalCorrelation(alpha=2.0, beta=5.0, gamma=0.5),
}


def under(name: str, weight: float) -> tuple[torch.Tensor, ...]:
    """Value, gradients by distortion, rates and scores, of an objective that has steered its own weight once."""
    objective = OBJECTIVES[name]()
    distortion, rates, score = (t.clone().requires_grad_() for t in (DISTORTION, RATES, torch.zeros(3)))
    recorded = {part: ((), rates[:, 0] * place) for place, part in enumerate(PARTS, start=1)}
    terms = Terms(distortion, {"z": (("latent",), rates)}, score, recorded, pixels=6, latents=2)
    numbers = torch.tensor([1.5])
    objective.loss(terms, numbers)
    loss = objective.loss(terms, numbers, warmth=weight)
    return loss, *torch.autograd.grad(loss, (distortion, rates, score), allow_unused=True)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_all_but_the_distortion_is_linear_in_the_weight(name, weight):
    """∂/∂score_i = (c_i − mean of the others' c)/B with the weighted cost c, so linear in the weight too."""
    cold, found, whole = (under(name, w) for w in (0.0, weight, 1.0))
    others = (DISTORTION.sum() - DISTORTION) / 2
    torch.testing.assert_close(cold[0], DISTORTION.mean())
    torch.testing.assert_close(cold[3], (DISTORTION - others) / 3)
    for zero, value, one in zip(cold, found, whole, strict=True):
        torch.testing.assert_close(value, zero + weight * (one - zero))
    assert (whole[0] - cold[0]).abs() > 0.01
    assert (whole[3] - cold[3]).abs().max() > 0.01
    torch.testing.assert_close(found[1], torch.full((3,), 1 / 3))


def test_a_soft_weight_multiplies_the_rate_and_stays_between_its_ends():
    """D + w γ KL, γ the weight before the step; γ falls to 1e-4 and rises to ``largest``, no farther."""
    objective = SoftFreeBits(nats=100.0, rate=0.5, largest=1.5)
    terms = Terms(DISTORTION, {"z": (("latent",), RATES)}, None, {}, pixels=6, latents=2)
    rate = RATES.sum(1).mean()
    torch.testing.assert_close(objective.loss(terms, warmth=0.3), DISTORTION.mean() + 0.3 * rate)
    torch.testing.assert_close(objective.loss(terms, warmth=0.3), DISTORTION.mean() + 0.3 * 0.5 * rate)
    for _ in range(30):
        objective.loss(terms)
    assert float(objective.state.weight) == pytest.approx(1e-4)
    rising = SoftFreeBits(nats=0.1, rate=0.5, largest=1.5)
    for _ in range(3):
        rising.loss(terms)
    assert float(rising.state.weight) == 1.5


def test_weights_of_schedules_inside_each_other_multiply(build):
    """By loss and by evaluation: a quarter of the way of the one, half of the other's."""
    pair = build("normal")
    nested = Annealed(objective=Annealed(objective=BetaELBO(beta=2.0), steps=10, start=0.0), steps=20, start=0.0)
    numbers = torch.tensor(nested.numbers(5))
    torch.manual_seed(3)
    loss, terms = nested.evaluate(pair.model, pair.guide, (pair.images,), numbers)
    expected = terms.distortion.mean() + 0.25 * 0.5 * 2.0 * terms.rate.mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(nested.loss(terms, numbers), expected)


@pytest.mark.parametrize("per_image", [False, True])
def test_each_site_has_its_own_free_nats(per_image):
    """Σ_sites Σ_latents max(λ_site, mean KL), or image by image, by hand."""
    rates = {"a": ("latent",), "b": ("latent",)}
    values = {"a": RATES, "b": RATES.flip(1) + 0.2}
    terms = Terms(DISTORTION, {n: (rates[n], values[n]) for n in rates}, None, {}, pixels=6, latents=4)
    budget = {"a": 0.5, "b": 1.7}
    loss = FreeBits(nats=budget, per_image=per_image).loss(terms)
    charged = [
        (v if per_image else v.mean(0, keepdim=True)).clamp(min=budget[name]).sum(1).mean()
        for name, v in values.items()
    ]
    torch.testing.assert_close(loss, DISTORTION.mean() + sum(charged))
