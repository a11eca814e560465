"""Each epoch's noise, order and numbers come from the seed, the epoch and the step: none of them may be forgotten.

All images are alike here, so that the order of the images changes nothing and only the noise tells epochs apart; a
learning rate of almost zero keeps the parameters where they are.
"""

import numpy as np
import pytest
import torch
import xarray as xr

from guides import MeanFieldNormal
from ppvae import VAE, Annealed, BetaELBO, fit
from ppvae.datasets import ImageDataset
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi.batches import Batches, mixed
from ppvae.svi.loop import Loop

SHAPE, LATENTS, IMAGES, BATCH = (1, 4, 4), 2, 24, 8
STEPS = IMAGES // BATCH
GREY = torch.full((IMAGES, *SHAPE), 128, dtype=torch.uint8)


def still(data: ImageDataset | torch.Tensor, objective=None, **options) -> xr.Dataset:
    """The history of a pair that does not learn."""
    torch.manual_seed(0)
    model = VAE(NormalPrior(LATENTS), BernoulliLikelihood(MLPDecoder(LATENTS, SHAPE, (8,))))
    guide = MeanFieldNormal(MLPEncoder(SHAPE, (8,)), LATENTS)
    arguments = {"epochs": 3, "batch_size": BATCH, "learning_rate": 1e-30, "compile": False, "accelerator": "cpu"}
    return fit(model, guide, data, objective, **arguments | {"progress": False} | options)


WHITE = torch.ones(IMAGES, *SHAPE)


def test_no_two_epochs_and_no_two_seeds_share_the_guides_noise():
    values = np.concatenate([still(WHITE, seed=seed)["distortion"] for seed in (0, 1)])
    assert len(np.unique(values)) == 6


def test_no_two_epochs_and_no_two_seeds_share_the_noise_of_a_conversion():
    """Grey pixels drawn anew: the closed-form KL of an encoder's output moves with its input alone."""
    data = ImageDataset(GREY, binarise="dynamic")
    values = np.concatenate([still(data, seed=seed)["rate"] for seed in (0, 1)])
    assert len(np.unique(values)) == 6
    assert len(np.unique(still(ImageDataset(GREY, binarise="static"))["rate"].values.round(5))) == 1


def test_processes_draw_noise_of_their_own_in_the_loop(monkeypatch):
    """The seed of a step's noise, by seed, step and process: none of 1 800 like another, nor their low 32 bits, which
    are all that a CPU's generator takes."""
    seeds = [mixed(seed, step, rank) for seed in range(3) for step in range(200) for rank in range(3)]
    assert len(set(seeds)) == len({seed % 2**32 for seed in seeds}) == 1800
    given = []
    monkeypatch.setattr(Loop, "_seed", lambda self, seed, real=Loop._seed: given.append(seed) or real(self, seed))
    still(WHITE, seed=2)
    assert given == [mixed(2, step, 0) for step in range(3 * IMAGES // BATCH)]


def test_the_order_is_another_for_every_seed_and_epoch():
    def batches(seed: int) -> Batches:
        return Batches(torch.arange(64.0), 8, seed, torch.device("cpu"), 0, 1)

    order = {
        tuple(torch.cat([images for (images,) in batches(seed).epoch(epoch)]).tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(order) == 9


def test_numbers_are_those_of_the_step_from_the_first_to_the_last():
    """Annealed over all nine steps: an epoch's mean weight is that of its own three; warmth is reported alike."""
    start, steps = 0.1, 9
    history = still(WHITE, Annealed(objective=BetaELBO(beta=2.0), steps=steps, start=start))
    weights = (start + (1 - start) * np.arange(steps) / steps).reshape(3, STEPS).mean(1)
    np.testing.assert_allclose(history["warmth"], weights, rtol=1e-6)
    np.testing.assert_allclose((history["loss"] - history["distortion"]) / history["rate"], 2 * weights, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [8, 10, 100])
def test_an_epochs_means_are_over_its_steps(batch_size):
    """The KL of images that are all alike is the same in every step, whatever is left out of the epoch."""
    alone = float(still(WHITE, batch_size=1)["rate"][0])
    np.testing.assert_allclose(still(WHITE, batch_size=batch_size)["rate"], alone, rtol=1e-5)


def test_the_speed_is_that_of_all_images_of_the_epoch():
    history = still(WHITE, batch_size=10)  # two batches; four images are left out
    np.testing.assert_allclose(history["images_per_second"] * history["seconds"], 20, rtol=1e-9)


def test_the_callers_objective_keeps_its_own_state(monkeypatch):
    loops = []
    monkeypatch.setattr("ppvae.svi.training.Loop", lambda fabric, run: loops.append(Loop(fabric, run)) or loops[-1])
    objective = BetaELBO(beta=2.0)
    still(WHITE, objective, epochs=1)
    assert loops[0].step.objective == objective
    assert loops[0].step.objective is not objective
