"""More images than are decoded at a time: each stays beside its own pixels and codes, to the last."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from ppvae import VAE, from_pyro_svi
from ppvae.interventions import ablate, reconstruct, traverse
from ppvae.priors import NormalPrior

SHAPE, IMAGES, SCALE = (1, 1, 3), 1100, 0.7
LOADINGS = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.8, -1.2]])


class Linear(nn.Module):
    """N(x; z W, SCALE²)."""

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal((z @ LOADINGS).unflatten(-1, SHAPE), SCALE).to_event(3)


def guide(images: torch.Tensor) -> None:
    with pyro.plate("image", images.shape[-4], dim=-1):
        pyro.sample("z", dist.Normal(images.flatten(-3)[..., :2], 0.1).to_event(1), infer={"event_dims": ["latent"]})


@pytest.fixture(scope="module")
def model() -> VAE:
    return VAE(NormalPrior(2), Linear())


@pytest.fixture(scope="module")
def tree(model):
    images = torch.randn(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(0)).cumsum(0)  # no two of a kind
    return from_pyro_svi(model, guide, images, 1, log_likelihood=False)


def pixels_and_codes(tree) -> tuple[np.ndarray, np.ndarray]:
    codes = tree["sample_stats"]["z_mean"].values.astype(float)
    return tree["observed_data"]["x"].values.reshape(IMAGES, 3).astype(float), codes


def test_each_image_is_reconstructed_from_its_own_code(model, tree):
    _, codes = pixels_and_codes(tree)
    found = reconstruct(model, tree).values.reshape(IMAGES, 3)
    np.testing.assert_allclose(found, codes @ LOADINGS.numpy(), rtol=1e-4, atol=1e-4)


def test_each_image_is_scored_against_its_own_pixels(model, tree):
    """Squared error and −log p(x | z) of all images, with and without each latent, by hand."""
    pixels, codes = pixels_and_codes(tree)
    errors = []
    for latent in (None, 0, 1):
        kept = codes.copy()
        if latent is not None:
            kept[:, latent] = codes[:, latent].mean()
        errors.append(((kept @ LOADINGS.numpy() - pixels) ** 2).sum(1).mean())
    found = ablate(model, tree)
    constant = 3 * np.log(SCALE * np.sqrt(2 * np.pi))
    assert found.attrs["images"] == IMAGES
    assert found.attrs["squared_error"] == pytest.approx(errors[0], rel=1e-4)
    assert found.attrs["distortion"] == pytest.approx(errors[0] / (2 * SCALE**2) + constant, rel=1e-4)
    np.testing.assert_allclose(found["relative"], np.array(errors[1:]) / errors[0] - 1, rtol=1e-3)
    np.testing.assert_allclose(found["worsening"], (np.array(errors[1:]) - errors[0]) / (2 * SCALE**2), rtol=1e-3)


def test_a_models_scale_weighs_its_nats_and_not_its_squared_error(tree):
    """As everything exported is under the programs' scales."""
    plain = VAE(NormalPrior(2), Linear())
    found = [ablate(model, tree) for model in (plain, poutine.scale(plain, scale=3.0))]
    assert found[1].attrs["distortion"] == pytest.approx(3 * found[0].attrs["distortion"], rel=1e-5)
    np.testing.assert_allclose(found[1]["worsening"], 3 * found[0]["worsening"], rtol=1e-5)
    np.testing.assert_allclose(found[1]["relative"], found[0]["relative"], rtol=1e-5)


def test_every_step_of_a_long_traversal_is_decoded_from_its_own_value(model, tree):
    steps = 700
    _, codes = pixels_and_codes(tree)
    found = traverse(model, tree, image=IMAGES - 1, steps=steps)
    for row, latent in enumerate(found["latent"].values):
        moved = np.repeat(codes[-1:], steps, 0)
        moved[:, latent] = found["value"][row]
        expected = moved @ LOADINGS.numpy()
        np.testing.assert_allclose(found[row].values.reshape(steps, 3), expected, rtol=1e-4, atol=1e-3)
