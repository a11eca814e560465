"""What looks at a pair after each epoch sees it as it would be handed over, and changes nothing of the training."""

import pytest
import torch

from guides import MeanFieldNormal
from ppvae import VAE, UserError, fit, from_pyro_svi
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi import Recipe

SHAPE, LATENTS = (1, 4, 4), 2
SETTINGS = {"epochs": 3, "batch_size": 8, "compile": False, "progress": False, "accelerator": "cpu"}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(32, *SHAPE, generator=torch.Generator().manual_seed(1))


def make_pair() -> tuple[torch.nn.Module, torch.nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[8]), scale=0.3))
        return model, MeanFieldNormal(MLPEncoder(SHAPE, hidden=[8]), LATENTS)


def flat(pair) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for module in pair for value in module.state_dict().values()])


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(average=0.9)])
def test_it_sees_what_would_be_handed_over(images, recipe, tmp_path):
    """After each epoch the pair is that of a training of so many epochs, also where parameters are averaged."""
    seen, pair = {}, make_pair()

    def look(history):
        from_pyro_svi(*pair, images, 2)  # draws, in evaluation mode: neither may reach the training
        seen[history.sizes["epoch"]] = flat(pair)

    history = fit(*pair, images, recipe=recipe, after_epoch=look, directory=tmp_path / "run", **SETTINGS)
    assert sorted(seen) == [1, 2, 3]
    for epochs, states in seen.items():
        alone = make_pair()
        fit(*alone, images, recipe=recipe, **SETTINGS | {"epochs": epochs})
        torch.testing.assert_close(states, flat(alone), rtol=0, atol=0)
    assert history.sizes["epoch"] == 3


def test_a_resumed_run_shows_the_epochs_that_are_left(images, tmp_path):
    seen = []
    fit(*make_pair(), images, directory=tmp_path, **SETTINGS | {"epochs": 2})
    look = {"after_epoch": lambda history: seen.append((history.sizes["epoch"], float(history.loss[-1])))}
    history = fit(*make_pair(), images, directory=tmp_path, resume=True, **look, **SETTINGS)
    assert seen == [(3, float(history.loss[2]))]


def test_processes_of_its_own_cannot_call_back(images):
    with pytest.raises(UserError, match=r"after_epoch is called where fit was, devices=2 .*devices=1"):
        fit(*make_pair(), images, after_epoch=print, devices=2, **SETTINGS)
