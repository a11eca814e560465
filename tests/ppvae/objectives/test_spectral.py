"""Spectral norms of many kernels at once, against the singular value decomposition of each."""

import pytest
import torch
from torch import nn

from ppvae.objectives.spectral import SpectralNorms, kernel, stacked

SHAPES = [(6, 9), (6, 9), (3, 20), (6, 9), (5, 1), (1, 7), (8, 8)]


def matrices(scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def exact(stacks: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([torch.linalg.svdvals(stack)[:, 0] for stack in stacks.values()])


def test_never_above_and_closer_from_step_to_step():
    norms, stacks = SpectralNorms(), stacked(matrices())
    norms.begin(stacks)
    found = torch.stack([norms(stacks) for _ in range(60)]).detach()
    largest = exact(stacks)
    assert len(largest) == len(SHAPES)
    assert (found <= largest * (1 + 1e-12)).all()
    assert (found.diff(dim=0) >= -1e-12).all()
    torch.testing.assert_close(found[-1], largest, rtol=1e-9, atol=0)


def test_vectors_follow_matrices_that_move():
    """After each of some small changes the estimate is within a hundredth."""
    norms, now = SpectralNorms(), matrices()
    norms.begin(stacked(now))
    for _ in range(5):
        now = [one + 0.02 * torch.randn_like(one) for one in now]
        stacks = stacked(now)
        torch.testing.assert_close(norms(stacks).detach(), exact(stacks), rtol=1e-2, atol=0)


def test_the_gradient_is_that_of_the_decomposition():
    leaves = [one.requires_grad_() for one in matrices()]
    norms, stacks = SpectralNorms(), stacked(leaves)
    norms.begin(stacks)
    for _ in range(60):
        norms(stacks)
    ours, theirs = (torch.autograd.grad(of.sum(), leaves, retain_graph=True) for of in (norms(stacks), exact(stacks)))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_kernel_of_zeros_costs_nothing_and_is_found_once_it_is_none():
    norms, weight = SpectralNorms(), torch.zeros(2, 4, 5, requires_grad=True)
    for _ in range(3):
        norms.begin({"left_4x5": weight})
        (gradient,) = torch.autograd.grad(norms({"left_4x5": weight}).sum(), weight)
        assert not gradient.any()
    with torch.no_grad():
        weight[1] = torch.randn(4, 5)
    for _ in range(30):
        found = norms({"left_4x5": weight})
    torch.testing.assert_close(found, torch.stack([torch.zeros(()), torch.linalg.svdvals(weight[1])[0]]))


def test_without_gradients_the_vectors_stay():
    norms, stacks = SpectralNorms(), stacked(matrices())
    norms.begin(stacks)
    kept = {name: one.clone() for name, one in norms.named_buffers()}
    with torch.no_grad():
        norms({name: stack + 1 for name, stack in stacks.items()})
    assert all(torch.equal(one, kept[name]) for name, one in norms.named_buffers())
    assert norms.fit(stacks)
    assert not norms.fit(stacked(matrices()[1:]))
    state = torch.get_rng_state()
    norms.begin(stacks)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_kernel_is_the_matrix_that_a_convolution_multiplies_by(kind, groups):
    """At one place: (C_out, C_in / groups), each group of rows by its own channels; depthwise with as many groups."""
    convolution, pixel = kind(4, 8, 1, groups=groups, bias=False), torch.randn(4)
    rows = kernel(convolution).reshape(groups, 8 // groups, 4 // groups)
    by_hand = torch.einsum("gri,gi->gr", rows, pixel.reshape(groups, -1)).flatten()
    torch.testing.assert_close(convolution(pixel.reshape(1, 4, 1, 1)).flatten(), by_hand)
    assert kernel(kind(4, 8, 3, groups=groups)).shape == (8, 4 // groups * 9)
