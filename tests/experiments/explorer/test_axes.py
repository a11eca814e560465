"""What sliders move: latents themselves, and principal directions of feature maps."""

import numpy as np
import pytest
import torch
import xarray as xr

from experiments.explorer.axes import axes_of, plane
from ppvae import UserError

IMAGES, MAPS = 30, (2, 3, 3)


@pytest.fixture
def maps() -> torch.Tensor:
    """Maps (image, 2, 3, 3) that lie on a plane around a mean."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(IMAGES, 2, generator=generator) * torch.tensor([5.0, 1.0])
    spans = torch.randn(2, *MAPS, generator=generator)
    return torch.einsum("is,scrk->icrk", scores, spans) + torch.randn(*MAPS, generator=generator)


def tree_of(codes: torch.Tensor, kl: list[float] | None = None) -> xr.DataTree:
    """A tree of codes z, which may know their KL."""
    stats = {"z_mean": (("image", "latent"), codes.numpy()), "z_variance": (("image", "latent"), np.ones(codes.shape))}
    stats["kl"] = ("image", np.ones(len(codes))) if kl is None else (("image", "latent"), np.tile(kl, (len(codes), 1)))
    dataset = xr.Dataset(stats, {"latent": np.arange(codes.shape[1])})
    return xr.DataTree.from_dict({"sample_stats": dataset})


def test_maps_moved_to_another_image_s_scores_are_its_maps(maps):
    """Two directions span all there is of them."""
    axes = axes_of(xr.DataTree(), "z_1", maps)
    assert axes.kind == "directions"
    moved = axes.moved(3, {number: float(axes.scores[8, number]) for number in axes.numbers})
    np.testing.assert_allclose(moved, maps[8], atol=1e-4)
    assert axes.scores[:, 0].var() > axes.scores[:, 1].var() > 1e3 * axes.scores[:, 2].var()


def test_a_direction_is_moved_by_itself(maps):
    """Its score is what it was moved to, those of all others stay, and a map moved to where it is does not change."""
    noisy = maps + torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))  # which no two directions span
    axes = axes_of(xr.DataTree(), "z_1", noisy)
    moved = axes.moved(3, {1: torch.tensor([-2.0, 4.0], dtype=torch.float64)})
    assert moved.shape == (2, *MAPS)
    change = (moved - noisy[3]).flatten(1) @ axes.directions.T
    expected = np.zeros((2, len(axes.numbers)))
    expected[:, 1] = np.array([-2.0, 4.0]) - axes.scores[3, 1]
    np.testing.assert_allclose(change, expected, atol=1e-4)
    np.testing.assert_allclose(axes.moved(3, {1: float(axes.scores[3, 1])}), noisy[3], atol=1e-5)


def test_a_latent_takes_the_value_itself_and_the_largest_kl_comes_first():
    codes = torch.randn(IMAGES, 3, generator=torch.Generator().manual_seed(0))
    axes = axes_of(tree_of(codes, [0.5, 3.0, 1.0]), "z", codes)
    assert axes.order == (1, 2, 0)
    moved = axes.moved(4, {2: 0.1, 0: torch.tensor([1.5, -1.5])})
    assert moved.tolist() == [[1.5, codes[4, 1].item(), torch.tensor(0.1).item()], [-1.5, *moved[0, 1:].tolist()]]
    without = axes_of(tree_of(codes * torch.tensor([1.0, 9.0, 3.0])), "z", codes * torch.tensor([1.0, 9.0, 3.0]))
    assert without.kl is None
    assert without.order == (1, 2, 0)  # by the variance of the codes


def test_a_path_has_the_inner_98_percent_and_a_slider_the_outermost_codes():
    codes = torch.linspace(0, 100, 101)[:, None].repeat(1, 2) * torch.tensor([1.0, 0.0])
    axes = axes_of(tree_of(codes), "z", codes)
    np.testing.assert_allclose(axes.path(0, 3), [1, 50, 99])
    assert axes.reach(0) == (0, 100)
    assert axes.reach(1) == (-0.5, 0.5)  # of a latent that is not used
    with pytest.raises(UserError, match="z has no latent 2: give one of its 2, 0 to 1"):
        axes.path(2, 3)


def test_the_plane_is_that_of_the_principal_components():
    codes = torch.randn(IMAGES, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 7.0, 1.0, 4.0, 1.0])
    found = plane(axes_of(tree_of(codes), "z", codes))
    centred = (codes - codes.mean(0)).double().numpy()
    values = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), values[:2], rtol=1e-6)
    two = axes_of(tree_of(codes[:, :2]), "z", codes[:, :2])
    assert np.array_equal(plane(two), codes[:, :2].numpy())  # a plane already
    one = axes_of(tree_of(codes[:, :1]), "z", codes[:, :1])
    assert plane(one).shape == (IMAGES, 2)
