"""Who is let in, read off the KLs of the epochs so far; and that turning a latent down leaves what it says."""

import numpy as np
import pytest
import torch

from guides import InverseAutoregressiveGuide, MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, UserError, path
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior
from ppvae.selection.admission import Admission, admitted
from ppvae.selection.ports import Ports
from ppvae.svi import Recipe

SHAPE = (1, 4, 4)


def make_pair(latents: int = 3) -> tuple[torch.nn.Module, torch.nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(NormalPrior(latents), NormalLikelihood(MLPDecoder(latents, SHAPE, hidden=[8]), scale=0.3))
        return model, MeanFieldNormal(MLPEncoder(SHAPE, hidden=[8]), latents)


@pytest.mark.parametrize(
    ("kl", "pause", "into", "waiting"),
    [
        ([[0.0, 0.05, 0.09]], 1, set(), set()),
        ([[0.5, 0.7, 0.2]], 1, {1}, {0, 2}),  # the largest
        ([[0.5, 0.7, 0.2], [0.9, 0.7, 0.2]], 0, {1}, {0, 2}),  # one a level
        ([[0.5, 0.7, 0.2], [0.9, 0.7, 0.2], [0.9, 0.7, 0.2]], 0, {0, 1}, {2}),
        ([[0.5, 0.7, 0.2], [0.9, 0.7, 0.2], [0.9, 0.7, 0.2]], 1, {1}, {0, 2}),  # the level after it is closed
        (5 * [[0.5, 0.7, 0.2]], 1, {0, 1}, {2}),
        ([[0.5, 0.7, 0.2], [0.9, 0.05, 0.2]], 1, set(), {0, 2}),  # what falls below is out, and the doors still closed
    ],
)
def test_one_is_let_in_and_then_there_is_a_pause(kl, pause, into, waiting):
    """Levels of two epochs."""
    assert admitted(np.array(kl), 2, pause) == (into, waiting)


def test_who_has_to_wait_is_turned_down_and_says_the_same():
    model, guide = make_pair()
    images = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(1))
    before, variance = guide.posterior(images).mean.detach(), guide.posterior(images).variance.detach()
    columns = model.likelihood.decoder.layers[0].weight.clone()
    assert Admission(Ports.of(model, guide), 2, 1)(np.array([[0.5, 0.7, 0.05]])) == ({1}, {0})
    factors = torch.tensor([0.1, 1.0, 1.0])  # the first has to wait, the second is in, the third says nothing
    torch.testing.assert_close(guide.posterior(images).mean.detach(), before * factors)
    torch.testing.assert_close(guide.posterior(images).variance.detach(), variance**factors)
    torch.testing.assert_close(model.likelihood.decoder.layers[0].weight.detach(), columns * factors)


def test_ports_are_of_a_linear_head_and_a_linear_layer():
    model, guide = make_pair()
    ports = Ports.of(model, guide)
    assert ports.heads == [guide.loc, guide.log_variance]
    assert ports.takers == [model.likelihood.decoder.layers[0]]
    gamma = VAE(NormalGammaPrior(3), model.likelihood), NormalGammaGuide(MLPEncoder(SHAPE, hidden=[8]), 3)
    assert Ports.of(*gamma).heads == [gamma[1].loc]
    smaller = VAE(NormalPrior(3), NormalLikelihood(MLPDecoder(3, SHAPE, hidden=[8]), scale=0.3))
    del smaller.likelihood.decoder.latents  # a decoder that does not say so
    assert Ports.of(smaller, guide) is None


def test_a_code_of_one_kl_has_no_places():
    model, _ = make_pair()
    flows = InverseAutoregressiveGuide(MLPEncoder(SHAPE, hidden=[8]), 3, flows=1, hidden=[8])
    images = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(1))
    found = path(model, flows, images, levels=2, epochs=2, progress=False, accelerator="cpu", compile=False)
    assert found.sizes["level"] == 2


def test_copies_wait():
    """All that differs is one bit, which three latents could share: one takes it, the others tell nothing."""
    bright = torch.randint(0, 2, (512, 1, 1, 1), generator=torch.Generator().manual_seed(5)) * 0.8 + 0.1
    images = bright.expand(-1, *SHAPE).clone()
    options = {"levels": 8, "epochs": 24, "batch_size": 32, "stop": 0.2, "ablated": 64, "progress": False}
    options |= {"accelerator": "cpu", "execution": "captured", "learning_rate": 0.005}
    found = path(*make_pair(), images, pause=8, **options)
    assert found.into.sum("latent").values.max() == 1
    assert int(found.into[-1].sum()) == 1
    assert float(found.kl[-1].where(~found.into[-1]).sum()) < 0.02 * float(found.kl[-1].sum())


def test_averages_are_refused():
    images = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(1))
    with pytest.raises(UserError, match=r"average=0.9: .* give average=None or pause=None"):
        path(*make_pair(), images, levels=2, epochs=2, recipe=Recipe(average=0.9), progress=False)
