"""What the processes that share a batch compute together: sums, means and what each of them holds.

Each of n processes differentiates a loss of its own images, and the gradients are averaged. Of a mean m = (1/n) Σᵣ mᵣ
of all images inside a function f, process r needs the value f(m) and the gradient f′(m)·∇mᵣ, since
(1/n) Σᵣ f′(m)·∇mᵣ = ∇f(m): a mean's value comes from all, its gradient from the process's own images, and no gradient
has to travel. Of what other processes hold themselves (:func:`gathered`) it travels back.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

__all__ = ["count", "from_first", "gathered", "mean_over_processes", "rank", "sharing", "total"]


@dataclass
class _Sharing:
    """How many processes share a batch, which of them this is, and whether they are all at the same place."""

    count: int = 1
    rank: int = 0
    together: bool = True


_now = _Sharing()  # not of this thread alone: a GPU's gradients are computed in threads of their own


@contextmanager
def sharing(processes: int, rank: int, *, together: bool = True) -> Iterator[None]:
    """Inside, a batch is one process's share.

    Without ``together`` nothing is sent and the others are taken to hold what this process holds: for rehearsals, which
    a process may take alone.
    """
    before = _now.count, _now.rank, _now.together
    _now.count, _now.rank, _now.together = processes, rank, together
    try:
        yield
    finally:
        _now.count, _now.rank, _now.together = before


def count() -> int:
    """Processes that share a batch."""
    return _now.count


def rank() -> int:
    """This process's place among them."""
    return _now.rank


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum of all processes' values, entry by entry; without a gradient where there are several."""
    return values if _now.count == 1 else torch.ops.ppvae.total(values.detach())


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean of all processes' values, entry by entry; its gradient is that of the process's own."""
    if _now.count == 1:
        return values
    return total(values) / _now.count + (values - values.detach())


def gathered(values: torch.Tensor) -> torch.Tensor:
    """All processes' values (n·image, ...), in the order of their ranks, with gradients that travel back and add up."""
    return values if _now.count == 1 else torch.ops.ppvae.gathered(values, _now.count, _now.rank)


def from_first(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite real tensors by those of the first process; all must call it."""
    with torch.no_grad():
        for tensor in tensors:
            if tensor.is_floating_point():
                sent = tensor.contiguous()
                dist.broadcast(sent, 0)
                tensor.copy_(sent)


# operators, so that a recorded graph holds them whole
_library = torch.library.Library("ppvae", "DEF")
_library.define("total(Tensor values) -> Tensor")
_library.define("gathered(Tensor values, int processes, int rank) -> Tensor")
_library.define("own_part(Tensor values, int processes, int rank) -> Tensor")


def _total(values: torch.Tensor) -> torch.Tensor:
    if not _now.together:
        return values * _now.count
    summed = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(summed)
    return summed


def _gathered(values: torch.Tensor, processes: int, rank: int) -> torch.Tensor:
    del rank
    if not _now.together:
        return torch.cat([values] * processes)
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(processes)]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def _own_part(values: torch.Tensor, processes: int, rank: int) -> torch.Tensor:
    """What all processes' values, added up, hold of this one's images."""
    return _total(values).chunk(processes)[rank].clone()


for _name, _run in (("total", _total), ("gathered", _gathered), ("own_part", _own_part)):
    _library.impl(_name, _run, "CompositeExplicitAutograd")


@torch.library.register_fake("ppvae::total", lib=_library)
def _shape_of_total(values: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(values, memory_format=torch.contiguous_format)


@torch.library.register_fake("ppvae::gathered", lib=_library)
def _shape_of_gathered(values: torch.Tensor, processes: int, rank: int) -> torch.Tensor:
    del rank
    return values.new_empty(processes * len(values), *values.shape[1:])


@torch.library.register_fake("ppvae::own_part", lib=_library)
def _shape_of_own_part(values: torch.Tensor, processes: int, rank: int) -> torch.Tensor:
    del rank
    return values.new_empty(len(values) // processes, *values.shape[1:])


def _keep_place(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: torch.Tensor) -> None:
    del output
    _, ctx.processes, ctx.rank = inputs


def _back(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    return torch.ops.ppvae.own_part(gradient, ctx.processes, ctx.rank), None, None


torch.library.register_autograd("ppvae::gathered", _back, setup_context=_keep_place, lib=_library)
