"""A run of a deep hierarchy, whose prior and guide share a network: resumed, averaged, each thing once."""

import numpy as np
import torch
from torch import nn

from guides import HierarchyGuide
from ppvae import VAE, Annealed, Balanced, Penalised, fit
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.networks import BottomUp, HierarchyDecoder, TopDown
from ppvae.priors import HierarchyPrior
from ppvae.svi import Recipe

SHAPE, LINE = (1, 8, 8), "2x2:1 4x4:1"
IMAGES = torch.rand(24, *SHAPE, generator=torch.Generator().manual_seed(0)).round()
SETTINGS = {"batch_size": 8, "execution": "eager", "progress": False, "accelerator": "cpu", "seed": 3}


def pair() -> tuple[VAE, HierarchyGuide]:
    torch.manual_seed(0)
    prior = HierarchyPrior(TopDown(LINE, channels=4, latents=2))
    model = VAE(prior, BernoulliLikelihood(HierarchyDecoder(LINE, SHAPE, channels=4)))
    return model, HierarchyGuide(BottomUp(LINE, SHAPE, channels=4), prior)


def trained(epochs: int, directory=None, **more) -> tuple[nn.ModuleList, object]:
    programs = nn.ModuleList(pair())
    objective = Annealed(objective=Penalised(objective=Balanced(), spectral=0.01), steps=5)
    recipe = Recipe(optimizer="adamax", learning_rate=0.01, average=0.9, skip_norm=1e6)
    history = fit(*programs, IMAGES, objective, epochs=epochs, recipe=recipe, directory=directory, **(SETTINGS | more))
    return programs, history


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    """To the last bit: parameters, their average, BatchNorm's statistics of both, singular vectors, schedules."""
    whole, history = trained(2)
    trained(1, tmp_path)
    resumed, after = trained(2, tmp_path, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    np.testing.assert_array_equal(history["elbo"], after["elbo"])


def test_the_average_of_a_shared_network_is_one_average():
    """Prior and guide leave the training with one way down, its statistics counted in batches of the average's own."""
    programs, _ = trained(1)
    model, guide = programs
    assert guide.prior is model.prior
    norms = [part for part in model.prior.top_down.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    assert len({int(norm.num_batches_tracked) for norm in norms}) == 1
    assert all(norm.running_var.isfinite().all() for norm in norms)
    names = [name for name, _ in programs.named_parameters()]
    assert len(names) == len(set(names))
    assert sum("top_down" in name for name in names) == len([*model.prior.top_down.parameters()])
