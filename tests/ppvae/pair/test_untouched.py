"""Evaluation leaves no trace."""

import pytest
import torch
from torch import nn

from ppvae.pair.untouched import device_of, evaluating


@pytest.fixture
def modules() -> tuple[nn.Module, nn.Module]:
    first = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    second = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5)))
    second[1].eval()  # modes of its own for each part
    return first, second


def modes(modules) -> list[bool]:
    return [part.training for module in modules for part in module.modules()]


def test_modules_are_in_evaluation_mode_inside_and_as_before_outside(modules):
    before = modes(modules)
    with evaluating(*modules):
        assert not any(modes(modules))
        assert not torch.is_grad_enabled()
    assert modes(modules) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("of", [lambda net: lambda x: net(x), lambda net: net.forward], ids=["function", "method"])
@pytest.mark.parametrize("fails", [False, True])
def test_modules_behind_functions_and_bound_methods_are_evaluated_too(of, fails, modules):
    network, before = modules[0], modes(modules)
    mean, program = network[2].running_mean.clone(), of(network)
    try:
        with evaluating(program):
            assert torch.equal(program(torch.ones(5, 2)), program(torch.ones(5, 2)))  # no dropout
            assert network[2].running_mean.equal(mean)
            _ = 1 // (not fails)
    except ZeroDivisionError:
        assert fails
    assert modes(modules) == before
    network(torch.ones(5, 2))  # outside, training goes on as before
    assert modes(modules) == before
    assert not network[2].running_mean.equal(mean)


def test_evaluation_within_evaluation_ends_with_the_outer_one(modules):
    network, before = modules[0], modes(modules)
    with evaluating(network):
        with evaluating(lambda x: network(x)):
            network(torch.ones(2, 2))
        assert not any(modes([network]))
    assert modes(modules) == before


def test_programs_are_where_their_parameters_are():
    network, images = nn.Linear(2, 2, device="meta"), torch.zeros(1, device="meta")
    assert device_of(print, network.forward).type == "meta"
    assert device_of(print, images).type == "meta"
    assert device_of(nn.Linear(2, 2), images).type == "cpu"
    assert device_of(print).type == "cpu"


def test_the_random_state_is_put_back_after_an_error_too(modules):
    before, state = modes(modules), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), evaluating(*modules, seed=4):
        float(torch.rand(3).sum()) // 0
    assert modes(modules) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_seed_fixes_the_stream_inside():
    draws = []
    for _ in range(2):
        torch.rand(1)
        with evaluating(seed=4):
            draws.append(torch.rand(3))
    with evaluating(seed=5):
        draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_without_a_seed_the_callers_stream_goes_on():
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    with evaluating():
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.rand(3), expected)


def test_anything_that_is_no_module_is_left_alone(modules):
    with evaluating(modules[0], lambda x: x, None):
        assert not modules[0].training


def test_parts_that_two_programs_share_keep_their_mode():
    """Each part's mode is read before any of it is changed, whichever program comes first."""
    shared, frozen = nn.Linear(2, 2), nn.Dropout().eval()
    first, second = nn.Sequential(shared, frozen), nn.Sequential(nn.Linear(2, 2), shared, frozen)
    with evaluating(first, second):
        assert not any(part.training for program in (first, second) for part in program.modules())
    assert [part.training for part in second.modules()] == [True, True, True, False]
