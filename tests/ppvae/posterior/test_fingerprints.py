"""What a fingerprint tells apart: values, shapes, names, settings, Pyro's store; and what it does not, the mode."""

import pyro
import pytest
import torch
from torch import nn

from ppvae.posterior.fingerprints import hashed, weights_of


class Scaled(nn.Module):
    """A parameter, a buffer and a setting."""

    def __init__(self, shape: tuple[int, ...] = (2, 3), scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        self.register_buffer("count", torch.zeros(()))
        self.scale = scale


def changed(name: str) -> nn.Module:
    """A module that differs from ``Scaled()`` in one thing."""
    if name in ("shape", "setting"):
        return Scaled((3, 2)) if name == "shape" else Scaled(scale=2.0)
    if name == "class":
        return type("Other", (Scaled,), {})()
    module = Scaled()
    with torch.no_grad():
        getattr(module, {"value": "weight", "buffer": "count"}[name]).add_(1)
    return module


@pytest.mark.parametrize("name", ["value", "buffer", "shape", "setting", "class"])
def test_each_thing_that_decides_a_result_is_in_it(name):
    assert weights_of(changed(name)) != weights_of(Scaled())
    assert weights_of(Scaled(), changed(name)) != weights_of(changed(name), Scaled())


def test_one_module_has_one_fingerprint_whatever_its_mode():
    assert weights_of(Scaled()) == weights_of(Scaled().eval())


def test_pyros_store_is_in_it():
    before = weights_of(Scaled())
    pyro.param("shift", torch.zeros(2))
    first = weights_of(Scaled())
    with torch.no_grad():
        pyro.param("shift").add_(1)
    second = weights_of(Scaled())
    pyro.clear_param_store()
    assert len({before, first, second}) == 3
    assert weights_of(Scaled()) == before


def test_plain_values_are_hashed_by_value_and_place():
    assert hashed({"a": 1, "b": 2}) == hashed({"b": 2, "a": 1})
    assert len({hashed(1, 2), hashed(2, 1), hashed([1, 2]), hashed(torch.tensor([1, 3])), hashed("1", 2)}) == 5
