"""A weight that falls by equal factors, and that it reaches the KL alone."""

import numpy as np
import pytest
import torch

from ppvae import Annealed, BetaELBO, Capacity, Descending, UserError, fit

GRID = {"start": 100.0, "stop": 0.01, "levels": 5, "steps": 2}


def test_each_level_is_the_one_before_by_the_same_factor():
    objective = Descending(objective=BetaELBO(), **GRID)
    np.testing.assert_allclose(objective.weights, [100, 10, 1, 0.1, 0.01], rtol=1e-12)
    held = [objective.weight(step) for step in range(12)]
    np.testing.assert_allclose(held, [100, 100, 10, 10, 1, 1, 0.1, 0.1, *4 * [0.01]], rtol=1e-12)
    assert objective.settles == 8  # the first step of the last level


def test_the_weight_is_that_of_the_rate(build):
    pair, objective = build("normal"), Descending(objective=BetaELBO(beta=3), **GRID)
    losses = []
    for loss in (objective.at(2), BetaELBO(beta=30)):
        torch.manual_seed(3)
        losses.append(loss(pair.model, pair.guide, pair.images))
    torch.testing.assert_close(*losses)


def test_the_history_holds_the_weight_and_its_objectives_numbers(build):
    """Two steps an epoch and a level."""
    pair = build("normal")
    objective = Descending(objective=Capacity(start=0, stop=4, steps=4), **GRID)
    settings = {"epochs": 3, "batch_size": 8, "compile": False, "progress": False, "accelerator": "cpu"}
    history = fit(pair.model, pair.guide, pair.images, objective, **settings)
    np.testing.assert_allclose(history.weight, [100, 10, 1], rtol=1e-6)
    np.testing.assert_allclose(history.capacity, [0.5, 2.5, 4.0], rtol=1e-6)


def test_weights_multiply_where_an_annealing_is_around():
    objective = Annealed(objective=Descending(objective=BetaELBO(), **GRID), steps=4, start=0.5)
    assert objective.numbers(2) == pytest.approx((0.75, 10.0))
    assert objective.settles == 8


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"start": 0.0}, "start=0.0.*above zero"),
        ({"stop": 100.0}, "stop=100.0 is not below start=100.0"),
        ({"levels": 1}, "levels=1.*at least 2"),
        ({"steps": 0}, "steps=0.*at least 1"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        Descending(objective=BetaELBO(), **GRID | options)
    assert "\n" not in str(error.value)
