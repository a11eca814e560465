"""Spectral norms of many kernels at once, by power iterations that go on from step to step."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["SpectralNorms", "kernel", "stacked"]

FIRST, EACH = 40, 4  # iterations before the first step, and in each
TINY = 1e-30  # a length that no kernel in use has: one of zeros has no singular vectors


def kernel(convolution: _ConvNd) -> torch.Tensor:
    """A convolution's weights as a matrix (C_out, rest), a transposed one's likewise."""
    weight = convolution.weight
    if convolution.transposed:  # (C_in, C_out / groups, ...)
        weight = weight.unflatten(0, (convolution.groups, -1)).transpose(1, 2).flatten(0, 1)
    return weight.flatten(1)


def stacked(matrices: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices of one shape as one tensor (matrix, rows, columns), under a name of the shape."""
    found: dict[str, list[torch.Tensor]] = {}
    for one in matrices:
        found.setdefault(f"left_{one.shape[0]}x{one.shape[1]}", []).append(one)
    return {name: torch.stack(alike) for name, alike in found.items()}


class SpectralNorms(nn.Module):
    """Largest singular values σ of matrices, each from below; each has the gradient u vᵀ in its matrix.

    ``norms(stacks)`` → σ (matrix,), of all that :func:`stacked` gave. Matrices of one shape are multiplied at once;
    their left singular vectors u are buffers (matrix, rows), from which the next call goes on. A call under
    ``torch.no_grad`` leaves them as they are. Of a matrix of zeros σ and its gradient are zero.

    Source: Yoshida and Miyato 2017, "Spectral norm regularization for improving the generalizability of deep learning".
    """

    def begin(self, stacks: Mapping[str, torch.Tensor]) -> None:
        """Forget all other matrices, and iterate on these from random vectors, the same for equal shapes."""
        self._buffers.clear()
        for name, stack in stacks.items():
            start = torch.randn(stack.shape[:2], generator=torch.Generator().manual_seed(0)).to(stack)
            self.register_buffer(name, _iterated(stack.detach(), start, FIRST)[0])

    def fit(self, stacks: Mapping[str, torch.Tensor]) -> bool:
        """Whether the vectors may be of these matrices, by their number and shapes."""
        return {name: buffer.shape for name, buffer in self.named_buffers()} == {
            name: stack.shape[:2] for name, stack in stacks.items()
        }

    def forward(self, stacks: Mapping[str, torch.Tensor]) -> torch.Tensor:
        norms = []
        for name, stack in stacks.items():
            vectors = self.get_buffer(name)
            left, right = _iterated(stack.detach(), vectors, EACH)
            if torch.is_grad_enabled():
                vectors.copy_(left)
            norms.append(torch.bmm(torch.bmm(left.unsqueeze(1), stack), right.unsqueeze(2)).flatten())
        return torch.cat(norms)


def _iterated(stack: torch.Tensor, start: torch.Tensor, times: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors u (matrix, rows) and v (matrix, columns); where a matrix is zero u is the start, v zero."""
    turned, left = stack.mT, start.unsqueeze(1)
    for _ in range(times):
        right = _unit(torch.bmm(left, stack))
        left = torch.bmm(right, turned)
    length = left.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, left / length.clamp(min=TINY), start.unsqueeze(1)).squeeze(1), right.squeeze(1)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=TINY)
