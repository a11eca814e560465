"""The stopping rule of Jouffroy et al., Sec. IV, on losses written by hand."""

import pytest

from ppvae import UserError
from ppvae.svi import Plateau


def test_five_losses_within_one_percent_are_a_plateau():
    assert Plateau().reached([500.0, 100.0, 100.2, 99.8, 100.4, 100.0])


def test_a_range_of_one_percent_is_not_below_one_percent():
    assert not Plateau().reached([99.5, 100.5, 100.0, 100.0, 100.0])
    assert Plateau().reached([99.5, 100.49, 100.0, 100.0, 100.01])
    assert not Plateau().reached([100.0, 100.0, 100.0, 100.0, 101.1])


def test_only_the_window_counts():
    falling = [200.0, 150.0, 120.0, 110.0, 105.0]
    assert not Plateau().reached(falling)
    assert not Plateau().reached([*falling, 104.9, 104.9, 104.9])
    assert Plateau().reached([*falling[:4], 105.0, 104.9, 104.9, 104.9, 104.9])
    assert Plateau(window=3).reached([*falling, 104.9, 104.9])


def test_fewer_epochs_than_the_window_are_no_plateau():
    assert not Plateau().reached([])
    assert not Plateau().reached([100.0] * 4)
    assert Plateau().reached([100.0] * 5)


def test_negative_losses_are_compared_with_their_size():
    assert Plateau().reached([-100.0, -100.2, -99.8, -100.4, -100.0])
    assert not Plateau().reached([-100.0, -102.0, -99.8, -100.4, -100.0])


def test_the_floor_is_not_part_of_the_loss():
    """An error that still halves is not stable, however large the constant of the density beside it."""
    floor, errors = -36_000.0, [64.0, 32.0, 16.0, 8.0, 4.0]
    losses = [floor + error for error in errors]
    assert Plateau().reached(losses)  # blind: 60 of 36 000 is less than 1 %
    assert not Plateau(floor=floor).reached(losses)
    assert Plateau(floor=floor).reached([floor + error for error in (100.0, 100.2, 99.8, 100.4, 100.0)])


def test_a_loss_that_is_no_number_is_no_plateau():
    assert not Plateau().reached([float("nan")] * 5)
    assert not Plateau().reached([float("inf")] * 5)


@pytest.mark.parametrize(
    "numbers",
    [
        {"window": 1},
        {"window": 0},
        {"tolerance": 0.0},
        {"tolerance": -0.01},
        {"tolerance": float("nan")},
        {"factor": 0.0},
        {"factor": 1.0},
        {"factor": float("nan")},
        {"drops": -1},
    ],
    ids=str,
)
def test_numbers_out_of_range_end_in_one_line(numbers):
    with pytest.raises(UserError, match=next(iter(numbers))) as caught:
        Plateau(**numbers)
    assert "\n" not in str(caught.value)
