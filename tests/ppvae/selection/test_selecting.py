"""What is selected is the pair of the plateau's end, cut; the pair that was given ends where the path does."""

import numpy as np
import pytest
import torch

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError, fit, from_pyro_svi, select
from ppvae.interventions import reconstruct
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior

SHAPE = (1, 4, 4)
SETTINGS = {"progress": False, "accelerator": "cpu", "execution": "captured", "learning_rate": 0.003}


def make_pair(latents: int = 4) -> tuple[torch.nn.Module, torch.nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = MLPDecoder(latents, SHAPE, hidden=[16], activation="tanh")
        model = VAE(NormalPrior(latents), NormalLikelihood(decoder, scale=0.1))
        return model, MeanFieldNormal(MLPEncoder(SHAPE, hidden=[16], activation="tanh"), latents)


def images(count: int = 512) -> torch.Tensor:
    """One direction."""
    generator = torch.Generator().manual_seed(5)
    direction = torch.linalg.qr(torch.randn(16, 1, generator=generator)).Q
    return (0.5 + 0.4 * torch.randn(count, 1, generator=generator) @ direction.T).unflatten(1, SHAPE).clamp(0, 1)


def test_one_direction_leaves_one_latent_that_says_what_it_said():
    model, guide = make_pair()
    chosen = select(model, guide, images(), levels=8, epochs=32, batch_size=32, stop=0.3, ablated=128, **SETTINGS)
    assert len(chosen.kept) == 1
    assert int(chosen.plateau["count"]) == 1
    last = chosen.path.isel(level=int(chosen.plateau["last"]))
    assert bool(last.by_ablation[chosen.kept].all())
    assert chosen.weight == float(last.weight)
    tree = from_pyro_svi(chosen.model, chosen.guide, images()[:128], 1)
    error = float(np.sqrt(((reconstruct(chosen.model, tree).values - images()[:128].numpy()) ** 2).mean()))
    # the others tell less than 1 % of the squared error each, three of them
    assert error == pytest.approx(float(last.error), rel=0.02)
    whole = from_pyro_svi(model, guide, images()[:8], 1)
    assert whole["posterior"].sizes["latent"] == 4  # the pair that was given keeps all
    objective = BetaELBO(beta=chosen.weight)
    history = fit(chosen.model, chosen.guide, images(), objective, epochs=2, batch_size=32, **SETTINGS)
    assert float(history.loss[-1]) < float(last.distortion + chosen.weight * last.rate) + 1.0


def test_where_no_number_holds_that_is_said():
    """Noise, above which nothing enters."""
    noise = 0.5 + 0.05 * torch.randn(256, *SHAPE, generator=torch.Generator().manual_seed(2))
    with pytest.raises(UserError, match=r"no number of latents holds .*; look at ppvae.path") as error:
        select(*make_pair(), noise, levels=3, epochs=3, start=9.0, stop=4.0, batch_size=64, **SETTINGS)
    assert "\n" not in str(error.value)
