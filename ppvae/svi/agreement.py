"""Whether a recorded graph is the function it was recorded from: values, gradients and buffers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ppvae.svi.rehearsal import unchanged

__all__ = ["BF16", "COARSE", "agree", "in_double", "rehearsed"]

type Results = tuple[list[torch.Tensor], list[torch.Tensor | None], list[torch.Tensor]]
ROUNDING = {torch.float64: (1e-6, 1e-9)}  # of a tensor's largest entry, and of the largest of all its kind
COARSE = (1e-3, 1e-5)
BF16 = (5e-2, 1e-2)  # eight bits of mantissa, in sums of hundreds


def agree(
    first: Callable,
    second: Callable,
    *inputs: torch.Tensor,
    preserve: nn.Module,
    rounding: tuple[float, float] = COARSE,
) -> bool:
    """Whether both give the same outputs, gradients and buffers under one seed, but for the rounding of reordered sums.

    An entry may be off by 1e-3 of its tensor's largest (1e-6 in float64), and a gradient by 1e-5 (1e-9) of the largest
    gradient of all beside: a bias that a normalisation cancels has the gradient 0 up to rounding. ``rounding`` says so
    of what is not float64.
    """
    results = [rehearsed(run, *inputs, preserve=preserve) for run in (first, second)]
    outputs, gradients, buffers = zip(*results, strict=True)
    largest = max((float(one.abs().max()) for one in gradients[1] if one is not None and one.numel()), default=0.0)
    return (
        all(_same(*pair, rounding) for pair in zip(*outputs, strict=True))
        and all(_same(*pair, rounding, largest=largest) for pair in zip(*gradients, strict=True))
        and all(_same(*pair, rounding) for pair in zip(*buffers, strict=True))
    )


def rehearsed(run: Callable, *inputs: torch.Tensor, preserve: nn.Module) -> Results:
    """Outputs of one run under a fixed seed, gradients of the sum of those that have one, buffers after it."""
    with unchanged(preserve, *inputs):
        torch.manual_seed(0)
        outputs = [output for output in tree_leaves(run(*inputs)) if isinstance(output, torch.Tensor)]
        graded = [output.sum() for output in outputs if output.requires_grad]
        parameters = [parameter for parameter in preserve.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(sum(graded), parameters, allow_unused=True) if graded and parameters else ()
        buffers = [buffer.detach().clone() for buffer in preserve.buffers()]
    return [output.detach() for output in outputs], list(gradients), buffers


def _same(
    first: torch.Tensor | None, second: torch.Tensor | None, rounding: tuple[float, float], largest: float = 0.0
) -> bool:
    """A missing gradient is a zero one."""
    if first is None or second is None:
        return all(tensor is None or not tensor.any() for tensor in (first, second))
    if not second.is_floating_point():
        return torch.equal(first, second)
    relative, floor = ROUNDING.get(second.dtype, rounding)
    scale = second.abs().max() if second.numel() else 0
    return bool(((first - second).abs() <= relative * scale + floor * largest).all())


@contextmanager
def in_double(module: nn.Module) -> Iterator[None]:
    """Parameters and buffers in float64, which new tensors are as well; afterwards the very tensors from before."""
    tensors = {id(one): one for one in (*module.parameters(), *module.buffers()) if one.dtype == torch.float32}
    kept, default = {key: one.data for key, one in tensors.items()}, torch.get_default_dtype()
    with unchanged(module):
        try:
            for one in tensors.values():
                one.data = one.data.double()
            torch.set_default_dtype(torch.float64)
            yield
        finally:
            torch.set_default_dtype(default)
            for key, one in tensors.items():
                one.data = kept[key]
