"""Training images mirrored at random: each as it is or left to right, half of them, and nothing else of a run."""

import pytest
import torch

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi import Recipe
from ppvae.svi.step import Step

SHAPE = (1, 3, 4)


def step(**options: object) -> Step:
    model = VAE(NormalPrior(2), BernoulliLikelihood(MLPDecoder(2, SHAPE, [4])))
    return Step(model, MeanFieldNormal(MLPEncoder(SHAPE, [4]), 2), BetaELBO(), **options)


def seen_by(one: Step, pixels: torch.Tensor) -> torch.Tensor:
    found = []
    hook = one.guide.encoder.register_forward_pre_hook(lambda _part, inputs: found.append(inputs[0]))
    torch.manual_seed(0)
    one.eager(pixels, torch.tensor(()))
    hook.remove()
    return (found[0] * 255).round()


def test_half_of_the_images_are_mirrored():
    """400 images, each one way or the other; the share within four standard errors, 0.1."""
    pixels = 255 * torch.randint(0, 2, (400, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    seen = seen_by(step(flip=True), pixels)
    same, turned = ((seen == wanted).flatten(1).all(1) for wanted in (pixels, pixels.flip(-1)))
    assert (same | turned).all()
    assert abs(turned.float().mean() - 0.5) < 0.1
    assert torch.equal(seen_by(step(), pixels), pixels.float())


def test_a_captured_step_mirrors_as_the_eager_one_does():
    one = step(flip=True)
    pixels = 255 * torch.randint(0, 2, (8, *SHAPE), dtype=torch.uint8)
    one.prepare(pixels, torch.tensor(()), execution="captured")
    assert one.execution == "captured"
    losses = []
    for run in (one.eager, one):
        torch.manual_seed(3)
        losses.append(run(pixels, torch.tensor(()))[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_images_given_beside_are_not_turned_unseen():
    with pytest.raises(UserError, match="flip mirrors the images and not the images given with them"):
        step(flip=True).eager(torch.rand(2, *SHAPE), torch.rand(2, *SHAPE), torch.tensor(()))
    with pytest.raises(UserError, match="flip='yes': expected true or false"):
        Recipe(flip="yes")
