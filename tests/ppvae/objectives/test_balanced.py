"""KL balancing: γ by hand, the ELBO at the end, and nothing in between that its formula has not."""

import pytest
import torch

from experiments.benchmarks.hierarchies import HierarchySetup
from ppvae import Annealed, Balanced, BetaELBO, UserError
from ppvae.pair.terms import Terms
from ppvae.processes import sharing
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

DISTORTION = torch.tensor([10.0, 20.0])
RATES = {  # KLs of each image: (3, -1), (2, 4), (0, 0.2)
    "z_1": (("latent",), torch.tensor([[1.0, 2.0], [-2.0, 1.0]])),
    "z_2": (("latent", "row", "column"), torch.tensor([2.0, 4.0]).reshape(2, 1, 1, 1).expand(2, 3, 2, 2) / 12),
    "z_3": (("latent", "row", "column"), torch.tensor([0.0, 0.2]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2) / 4),
}
# (E|KL| + 0.01) / α: a vector is one place, alone; four places by two groups
BY_HAND = torch.tensor([2.01 / 1, 3.01 / 2, 0.11 / 2])
BY_HAND = BY_HAND / BY_HAND.mean()
SETUP = HierarchySetup(sides=(2, 4, 4), image_shape=(1, 8, 8), batch_size=6, width=4, latents=2)


def terms(rates=RATES, score=None, shapes=None) -> Terms:
    return Terms(DISTORTION, rates, score, {}, pixels=4, latents=18, shapes=shapes or {})


def expected(weights: torch.Tensor, warmth: float) -> torch.Tensor:
    """Each image's distortion and weighed KLs, (image,)."""
    kls = torch.tensor([[3.0, -1.0], [2.0, 4.0], [0.0, 0.2]])
    return DISTORTION + warmth * (weights[:, None] * kls).sum(0)


def test_weights_by_hand_while_the_kl_is_annealed():
    for warmth in (0.1, torch.tensor(0.9)):
        torch.testing.assert_close(Balanced().loss(terms(), warmth=warmth), expected(BY_HAND, warmth).mean())
    for warmth in (1.0, torch.tensor(1.0)):
        torch.testing.assert_close(Balanced().loss(terms(), warmth=warmth), expected(torch.ones(3), 1.0).mean())


def test_a_kl_that_is_one_number_keeps_the_places_of_its_site():
    """As the KL of a flow's draw does."""
    whole = {name: ((), rate.flatten(1).sum(1)) for name, (_, rate) in RATES.items()}
    shapes = {name: rate.shape[1:] for name, (_, rate) in RATES.items()}
    torch.testing.assert_close(Balanced().loss(terms(whole, shapes=shapes), warmth=0.5), expected(BY_HAND, 0.5).mean())


def test_the_weights_have_no_gradient_and_weigh_the_scores_cost():
    rates = {name: (dims, rate.clone().requires_grad_()) for name, (dims, rate) in RATES.items()}
    score = torch.zeros(2, requires_grad=True)
    loss = Balanced().loss(terms(rates, score), warmth=0.5)
    *by_rate, by_score = torch.autograd.grad(loss, [*(rate for _, rate in rates.values()), score])
    for found, weight in zip(by_rate, BY_HAND, strict=True):
        torch.testing.assert_close(found, torch.full_like(found, 0.5 * weight / 2))
    cost = expected(BY_HAND, 0.5)
    torch.testing.assert_close(by_score, (cost - cost.flip(0)) / 2)


def test_a_single_code_has_the_weight_one():
    one = {"z_1": RATES["z_1"]}
    loss = Balanced().loss(terms(one), warmth=0.3)
    torch.testing.assert_close(loss, BetaELBO().loss(terms(one), warmth=0.3))


def test_means_are_of_all_processes(monkeypatch):
    """The other process holds KLs of zero."""
    monkeypatch.setattr("ppvae.processes.total", lambda values: values)
    weights = torch.tensor([1.01, 1.51 / 2, 0.06 / 2])
    with sharing(2, 0):
        loss = Balanced().loss(terms(), warmth=0.5)
    torch.testing.assert_close(loss, expected(weights / weights.mean(), 0.5).mean())


def graded(objective, warmth: float) -> tuple[torch.Tensor, ...]:
    model, guide = SETUP.pair()
    torch.manual_seed(1)
    loss, _ = objective.evaluate(model, guide, (SETUP.images(),), torch.empty(0), warmth)
    return loss, *torch.autograd.grad(loss, [*model.parameters(), *guide.bottom_up.parameters()])


def test_a_hierarchy_ends_on_the_elbo():
    """The same numbers and gradients at the weight one, others before."""
    for one, other in zip(graded(Balanced(), 1.0), graded(BetaELBO(), 1.0), strict=True):
        torch.testing.assert_close(one, other)
    balanced, plain = graded(Balanced(), 0.5), graded(BetaELBO(), 0.5)
    assert any(not torch.allclose(one, other) for one, other in zip(balanced, plain, strict=True))


def test_the_captured_step_follows_the_weight():
    """Balanced while it rises, the ELBO once it is one: the choice is not frozen."""
    objective = Annealed(objective=Balanced(), steps=10, start=0.1)
    step = Step(*SETUP.pair(), objective).double()
    images = SETUP.images().double()
    graph = capture(step.eager, images, torch.tensor(objective.numbers(0)), preserve=step)
    for number in (4, 10):
        numbers = torch.tensor(objective.numbers(number))
        results = []
        for run in (step.eager, graph):
            torch.manual_seed(2)
            loss, values = run(images, numbers)
            results.append((loss, values, *torch.autograd.grad(loss, [*step.parameters()], allow_unused=True)))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_mistakes_are_named_in_one_line():
    with pytest.raises(UserError, match=r"estimator='exact'.*auto"):
        Balanced(estimator="exact")
