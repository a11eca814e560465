"""Draws in place of means: what one z keeps, and the rest of images whose beginning is given."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr

from ppvae import UserError, from_pyro_svi
from ppvae.distributions import AutoregressiveImage, pixel_output
from ppvae.interventions import draw_images, draws_from_prior, draws_given_z, in_paint, sample
from ppvae.networks.causal import GatedPixels

IMAGES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().reshape(16, 1, 2, 2)
PRIOR = torch.tensor([0.7, 0.2, 0.1]).double()


@pytest.fixture
def few() -> SimpleNamespace:
    """All of p(z, x), (3, 16), of three values of z and binary images of 2 × 2 pixels, and a guide that is wrong."""
    torch.manual_seed(2)
    network = GatedPixels((1, 2, 2), 2, layers=2, channels=8).double()
    output = pixel_output("bernoulli", network.features, 1).double()
    for parameter in [*network.parameters(), *output.parameters()]:
        parameter.data *= 4
    context = 3 * torch.randn(3, 2, 2, 2).double()

    def decode(z: torch.Tensor) -> AutoregressiveImage:
        return AutoregressiveImage(network, output, context[z])

    def model(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            z = pyro.sample("z", dist.Categorical(PRIOR))
            pyro.sample("x", decode(z), obs=images)

    def guide(images: torch.Tensor) -> None:
        logits = images.flatten(1).sum(1)[:, None] * torch.tensor([1.0, -0.5, 0.3]).double()
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Categorical(logits=logits))

    with torch.no_grad():
        joint = (PRIOR.log()[:, None] + AutoregressiveImage(network, output, context[:, None]).log_prob(IMAGES)).exp()
    return SimpleNamespace(model=model, guide=guide, joint=joint, decode=decode)


@pytest.mark.parametrize("sweeps", [0, 2])
def test_in_painting_draws_from_the_posterior_given_the_prefix(few, sweeps):
    """Against the sum over all images and all z: four errors, as sixty images with the same beginning spread."""
    begun = IMAGES[12]  # its first two pixels are on
    same = (IMAGES.flatten(1)[:, :2] == begun.flatten()[:2]).all(1)
    exact = few.joint.sum(0)[same] / few.joint[:, same].sum()
    of_prior = (PRIOR[:, None] * few.joint[:, same] / few.joint[:, same].sum(1, keepdim=True)).sum(0)
    assert float((exact - of_prior).abs().max()) > 0.1  # z of the prior is another answer
    drawn = in_paint(
        few.model, few.guide, begun.expand(60, 1, 2, 2), 2, draws=50, candidates=100, sweeps=sweeps, seed=1
    )
    assert (drawn.values[..., 0, :] == 1).all()
    rest = torch.from_numpy(drawn.values).flatten(2)[:, :, 2:]
    shares = torch.stack([(rest == IMAGES[place].flatten()[2:]).all(-1).double().mean(1) for place in same.nonzero()])
    errors = shares.std(1) / math.sqrt(60)
    assert float(errors.max()) < 0.02
    assert ((shares.mean(1) - exact).abs() < 4 * errors + 1e-3).all()
    assert drawn.dims == ("image", "draw", "channel", "row", "column")
    assert ((drawn["effective"] > 1) & (drawn["effective"] <= 100 * (1 + (sweeps > 0)))).all()


@pytest.mark.parametrize("pixels", [0, 3, 4, None])
def test_what_is_given_is_kept_and_the_rest_is_not_looked_at(few, pixels):
    kept = 2 if pixels is None else pixels
    images = IMAGES[[5, 10, 15]]
    other = images.flatten(1).clone()
    other[:, kept:] = 1 - other[:, kept:]
    drawn, again = (
        in_paint(few.model, few.guide, one, pixels, draws=4, candidates=5, seed=2)
        for one in (images, other.reshape_as(images))
    )
    flat = drawn.values.reshape(3, 4, 4)
    np.testing.assert_array_equal(flat[:, :, :kept], np.repeat(images.flatten(1).numpy()[:, None, :kept], 4, 1))
    np.testing.assert_array_equal(drawn.values, again.values)
    assert drawn.attrs["pixels"] == kept


def test_in_painting_leaves_no_trace_and_names_mistakes(few, build):
    state = torch.get_rng_state()
    in_paint(few.model, few.guide, IMAGES[:2], draws=2, candidates=2)
    assert torch.equal(torch.get_rng_state(), state)
    for wrong in ({"pixels": 5}, {"pixels": -1}, {"draws": 0}, {"candidates": 0}, {"sweeps": -1}):
        ((name, value),) = wrong.items()
        with pytest.raises(UserError, match=f"{name}={value}"):
            in_paint(few.model, few.guide, IMAGES[:2], **wrong)
    pair = build("normal")
    with pytest.raises(UserError, match="goes by raster order"):
        in_paint(pair.model, pair.guide, pair.images)


def test_draws_of_one_z_share_what_z_keeps_alone(few):
    """Frequencies of all sixteen images under the z that was drawn for each image, within four and a half errors."""
    tree = from_pyro_svi(few.model, few.guide, IMAGES[[0, 6, 15]], 3)
    drawn = draws_given_z(few.model, tree, 1500, draw=1, seed=4)
    held = tree["posterior"]["z"].values[0, 1]
    assert drawn.sizes["draw"] == 1500
    numbers = (drawn.values.reshape(3, 1500, 4) @ [8, 4, 2, 1]).astype(int)
    for image, z in enumerate(held):
        exact = (few.joint[z] / few.joint[z].sum()).numpy()
        shares = np.bincount(numbers[image], minlength=16) / 1500
        assert (np.abs(shares - exact) < 4.5 * np.sqrt(exact * (1 - exact) / 1500) + 1e-3).all()


def test_draws_of_the_model_are_those_of_the_joint(few):
    tree = from_pyro_svi(few.model, few.guide, IMAGES[:3], 2)
    drawn = draws_from_prior(few.model, tree, 2000, seed=5)
    assert drawn.dims == ("draw", "channel", "row", "column")
    exact = few.joint.sum(0).numpy()
    shares = np.bincount((drawn.values.reshape(2000, 4) @ [8, 4, 2, 1]).astype(int), minlength=16) / 2000
    assert (np.abs(shares - exact) < 4.5 * np.sqrt(exact * (1 - exact) / 2000) + 1e-3).all()


def test_draws_take_any_likelihood_and_one_seed_is_one_result(build):
    for name in ("normal", "normal-gamma implicit"):
        pair = build(name)
        tree = from_pyro_svi(pair.model, pair.guide, pair.images[:4], 2)
        for draw in (draws_given_z, draws_from_prior):
            one, same, other = (draw(pair.model, tree, 5, seed=seed) for seed in (0, 0, 1))
            assert isinstance(one, xr.DataArray)
            assert one.identical(same)
            assert not one.equals(other)
    with pytest.raises(UserError, match="draws=0"):
        draws_given_z(pair.model, tree, 0)
    with pytest.raises(UserError, match="draw=7"):
        draws_given_z(pair.model, tree, 1, draw=7)


def test_a_sample_has_noise_of_its_own_where_there_is_no_mean(few):
    """Against p(x) by the sum over z; draws that share one noise would be alike wherever their z are."""

    def model(images=None, *, size: int = 1) -> torch.Tensor:
        with pyro.plate("image", size if images is None else len(images), dim=-1):
            z = pyro.sample("z", dist.Categorical(PRIOR))
            return pyro.sample("x", few.decode(z), obs=images)

    drawn = sample(model, 4000, seed=3)
    assert drawn.attrs["shown"] == "draws"
    shares = np.array([(drawn.values == image.numpy()).all((1, 2, 3)).mean() for image in IMAGES])
    exact = few.joint.sum(0).numpy()
    assert (np.abs(shares - exact) < 5 * np.sqrt(exact * (1 - exact) / 4000) + 1e-3).all()
    assert exact.max() < 0.9


def test_a_sample_is_the_mean_where_there_is_one_or_the_models_own_draw(build):
    pair = build("normal")
    assert sample(pair.model, 3, seed=1).equals(draw_images(pair.model, 3, seed=1))
    drawn = sample(pair.model, 3, pixels="draw", seed=1)
    torch.manual_seed(1)
    with torch.no_grad():
        assert torch.equal(torch.from_numpy(drawn.values), pair.model(size=3))
    with pytest.raises(UserError, match="n=0: expected a whole number"):
        sample(pair.model, 0)
