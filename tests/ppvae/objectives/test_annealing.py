"""Schedules of the KL's weight, and that the weight reaches all of an objective and nothing else."""

import itertools
from typing import get_args

import numpy as np
import pytest
import torch

from ppvae import (
    Annealed,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    SoftFreeBits,
    TotalCorrelation,
    UserError,
    fit,
)
from ppvae.objectives.annealing import Schedule, warmth

SCHEDULES = get_args(Schedule)
OBJECTIVES = {
    "beta": BetaELBO(beta=3),
    "free bits": FreeBits(nats=0.1),
    "free bits of each image": FreeBits(nats=0.1, per_image=True),
    "capacity": Capacity(gamma=3, start=0.5, stop=0.5),
    "capacity of each image": Capacity(gamma=3, start=0.5, stop=0.5, per_image=True),
    "total correlation": TotalCorrelation(),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_rise_from_the_start_to_exactly_one(schedule):
    values = [warmth(schedule, step / 100, start=0.1) for step in range(201)]
    assert values[0] == pytest.approx(0.1, abs=1e-12)
    assert all(value == 1.0 for value in values[100:])
    assert all(0.1 - 1e-12 <= value <= 1 for value in values)
    if schedule != "cyclical":
        assert all(later > earlier for earlier, later in itertools.pairwise(values[:101]))


def test_schedules_have_their_published_shapes():
    assert warmth("linear", 0.25) == 0.25
    assert warmth("cosine", 0.25) == pytest.approx((1 - 2**-0.5) / 2)
    assert warmth("sigmoid", 0.5) == pytest.approx(0.5)
    assert warmth("sigmoid", 0.25) == pytest.approx(1 - warmth("sigmoid", 0.75))
    assert warmth("sigmoid", 0.25) < 0.06
    # four cycles, each rising over its first half: 1/16 of all steps is half a rise
    assert [warmth("cyclical", x) for x in (0, 1 / 16, 1 / 8, 0.2, 0.25, 0.3125)] == [0, 0.5, 1, 1, 0, 0.5]
    assert warmth("cyclical", 0.25, cycles=2, rising=1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_weight_multiplies_all_but_the_distortion(name, build):
    pair, inner = build("normal"), OBJECTIVES[name]
    annealed = Annealed(objective=inner, steps=10, start=0.25)
    values = {}
    for step in (0, 4, 10, 50):
        torch.manual_seed(3)
        numbers = torch.tensor(annealed.numbers(step))
        values[step], terms = annealed.evaluate(pair.model, pair.guide, pair.images, numbers)
    torch.manual_seed(3)
    whole = inner(pair.model, pair.guide, pair.images)
    torch.testing.assert_close(values[50], values[10])
    torch.testing.assert_close(values[10], whole)
    penalty = whole - terms.distortion.mean()
    assert penalty.abs() > 0.01
    torch.testing.assert_close(values[0], terms.distortion.mean() + 0.25 * penalty)
    torch.testing.assert_close(values[4], terms.distortion.mean() + 0.55 * penalty)


def test_an_annealed_bound_tempers_its_log_weights(build):
    pair, inner = build("normal"), ImportanceWeighted(samples=4)
    torch.manual_seed(3)
    loss, terms = Annealed(objective=inner, start=0.5).evaluate(
        pair.model, pair.guide, pair.images, torch.tensor([0.5])
    )
    by_hand = -(-(terms.distortion + 0.5 * terms.rate)).exp().mean(0).log().mean()
    torch.testing.assert_close(loss, by_hand)


def test_capacity_keeps_its_own_numbers():
    annealed = Annealed(objective=Capacity(start=1.0, stop=3.0, steps=4), steps=10, start=0.5)
    assert annealed.numbers(0) == (0.5, 1.0)
    assert annealed.numbers(2) == (0.6, 2.0)
    assert annealed.numbers(99) == (1.0, 3.0)


def test_it_speaks_for_its_objective():
    assert Annealed(objective=BetaELBO(estimator="trace")).estimator == "trace"
    soft = SoftFreeBits()
    assert Annealed(objective=soft).state is soft.state
    assert Annealed(objective=TotalCorrelation()).bound_to(7, None, None).objective.images == 7


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"schedule": "cosin"}, "schedule='cosin'.*expected one of linear"),
        ({"steps": 0}, "steps=0.*at least 1"),
        ({"start": -0.1}, "start=-0.1.*from 0 to 1"),
        ({"rising": 0}, "rising=0.*above zero"),
        ({"rising": 1.5}, "rising=1.5.*from 0 to 1"),
        ({"cycles": 0}, "cycles=0"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        Annealed(objective=BetaELBO(), **options)
    assert "\n" not in str(error.value)


def test_without_the_step_it_is_refused(build):
    """Pyro's SVI tells no step: weight 1e-4 for ever would pass unnoticed."""
    pair, annealed = build("normal"), Annealed(objective=BetaELBO(beta=3), steps=10)
    with pytest.raises(UserError, match=r"Annealed changes from step to step.*at\(step\)"):
        annealed(pair.model, pair.guide, pair.images)
    values = []
    for loss in (annealed.at(10), BetaELBO(beta=3)):
        torch.manual_seed(3)
        values.append(loss(pair.model, pair.guide, pair.images))
    torch.testing.assert_close(*values)


def test_the_history_holds_the_weights_of_the_steps(build):
    """Two steps an epoch: weights at 0, 1 | 2, 3 | …, C at the same."""
    pair = build("normal")
    objective = Annealed(objective=Capacity(start=0, stop=4, steps=4), steps=4, start=0.2)
    settings = {"epochs": 3, "batch_size": 8, "compile": False, "progress": False, "accelerator": "cpu"}
    history = fit(pair.model, pair.guide, pair.images, objective, **settings)
    np.testing.assert_allclose(history.warmth, [0.3, 0.7, 1.0], rtol=1e-6)
    np.testing.assert_allclose(history.capacity, [0.5, 2.5, 4.0], rtol=1e-6)
    assert history.capacity.units == "nats per image"
    soft = fit(pair.model, pair.guide, pair.images, SoftFreeBits(nats=1e6), **settings)
    np.testing.assert_allclose(soft.kl_weight, [0.855, 0.855 * 0.81, 0.855 * 0.81**2], rtol=1e-5)
