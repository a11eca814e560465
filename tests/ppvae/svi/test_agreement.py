"""The comparison of a graph with its function: in float64 where the module allows it, and what it notices."""

import pytest
import torch
from torch import nn

from ppvae.svi.agreement import agree, in_double
from ppvae.svi.capture import capture


class Model(nn.Module):
    """Two parameters whose gradients are unlike in size, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x, *, large=1.0, small=1.0, mean=1.0, value=0.0):
        with torch.no_grad():
            self.mean.lerp_(mean * x, 0.5)
        wanted = (1e6 * large * self.large * x).sum() + (small * self.small * x).sum()
        return wanted, (self.large * x).sum().detach() + value


@pytest.mark.parametrize(
    ("off", "same"),
    [
        ({}, True),
        ({"value": 1e-2}, False),
        ({"large": 1.01}, False),
        ({"small": 1.01}, True),  # 1e-8 of the largest gradient: rounding, for all one can tell in float32
        ({"small": 100.0}, False),
        ({"mean": 1.01}, False),
    ],
)
def test_values_gradients_and_buffers_are_compared(off, same):
    module, x = Model(), torch.tensor([1.0, 2.0, 3.0])
    assert agree(lambda x: module(x, **off), module, x, preserve=module) is same
    assert not module.mean.any()


def test_in_float64_the_small_gradient_counts():
    module, x = Model(), torch.tensor([1.0, 2.0, 3.0])
    with in_double(module):
        assert agree(module, module, x.double(), preserve=module)
        assert not agree(lambda x: module(x, small=1.01), module, x.double(), preserve=module)


def test_float64_leaves_the_very_tensors_behind():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    module[0].weight.grad = torch.ones(3, 3)
    before = {
        name: (value, value.data_ptr(), value.clone()) for name, value in module.state_dict(keep_vars=True).items()
    }

    def fail():
        assert module(torch.ones(4, 3, dtype=torch.float64)).dtype == torch.float64
        assert torch.zeros(1).dtype == torch.float64
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), in_double(module):
        fail()
    assert torch.zeros(1).dtype == torch.float32
    for name, value in module.state_dict(keep_vars=True).items():
        same, address, content = before[name]
        assert value is same
        assert value.data_ptr() == address
        assert torch.equal(value, content)
        assert value.dtype == content.dtype


class SingleOnly(nn.Module):
    """Code that works in float32 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.linear(x) @ torch.ones(3, 3, dtype=torch.float32)).square().sum()


def test_code_that_refuses_float64_is_compared_in_float32():
    torch.manual_seed(0)
    module, x = SingleOnly(), torch.ones(2, 3)
    graph = capture(module, x, preserve=module)
    torch.testing.assert_close(graph(x), module(x))
    assert module.linear.weight.dtype == torch.float32


class Straight(torch.autograd.Function):
    """A gradient of its own, which no recording keeps."""

    @staticmethod
    def forward(_context, x):
        return x.clone()

    @staticmethod
    def backward(_context, gradient):
        return 2 * gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_gradient_is_refused_in_either_precision(dtype):
    module, x = nn.Linear(3, 1).to(dtype), torch.ones(2, 3, dtype=dtype)
    with pytest.raises(RuntimeError, match="differ from the eager step's"):
        capture(lambda x: Straight.apply(module(x)).sum(), x, preserve=module)
