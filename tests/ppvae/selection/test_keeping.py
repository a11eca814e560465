"""A smaller pair says and draws what the whole one does with the other latents at their means."""

import pytest
import torch
from torch import nn

from guides import FullCovarianceNormal, MeanFieldNormal, NormalGammaGuide, StudentTGuide
from ppvae import VAE, UserError, fit, from_pyro_svi
from ppvae.interventions import ablate, reconstruct
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from ppvae.priors import MixturePrior, NormalGammaPrior, NormalPrior, StudentTPrior
from ppvae.selection import keep_latents

SHAPE, LATENTS = (1, 8, 8), 5
PRIORS = {"normal": NormalPrior, "normal_gamma": NormalGammaPrior, "student_t": StudentTPrior}
GUIDES = {"normal": MeanFieldNormal, "normal_gamma": NormalGammaGuide, "student_t": StudentTGuide}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(1)).round()


def make_pair(kind: str = "normal", decoder: nn.Module | None = None) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        likelihood = NormalLikelihood(decoder or MLPDecoder(LATENTS, SHAPE, hidden=[16]), scale=0.3)
        return VAE(PRIORS[kind](LATENTS), likelihood), GUIDES[kind](MLPEncoder(SHAPE, hidden=[16]), LATENTS)


@pytest.mark.parametrize("kind", PRIORS)
@pytest.mark.parametrize("kept", [[0, 3], [4, 1, 2], [2]])
def test_what_is_kept_is_as_it_was(images, kind, kept):
    model, guide = make_pair(kind)
    smaller = keep_latents(model, guide, kept, images)
    whole, less = (from_pyro_svi(*pair, images, 1) for pair in ((model, guide), smaller))
    for name in ("z_mean",) if kind == "normal_gamma" else ("z_mean", "z_variance"):  # its variance is given a draw
        torch.testing.assert_close(
            torch.tensor(less["sample_stats"][name].values),
            torch.tensor(whole["sample_stats"][name].values[:, kept]),
        )
    if kind == "normal":  # of the others the KL is one draw's
        kls = (tree["sample_stats"]["kl"].values for tree in (less, whole))
        found, expected = map(torch.tensor, kls)
        torch.testing.assert_close(found, expected[:, kept], rtol=1e-4, atol=1e-5)
    assert less["posterior"].sizes["latent"] == len(kept)
    assert sum(p.numel() for p in smaller[0].parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_without_one_latent_it_draws_what_ablation_draws(images, network):
    """The ablated reconstruction's squared error is the smaller pair's own, for each latent in turn."""
    decoder = ConvDecoder(LATENTS, SHAPE, channels=[8, 8]) if network == "conv" else None
    model, guide = make_pair(decoder=decoder)
    guide.loc.weight.data *= 5  # codes that differ
    tree = from_pyro_svi(model, guide, images, 1)
    ablation = ablate(model, tree)
    for latent in range(LATENTS):
        smaller, encoder = keep_latents(model, guide, [k for k in range(LATENTS) if k != latent], images)
        less = from_pyro_svi(smaller, encoder, images, 1)
        error = ((reconstruct(smaller, less).values - images.numpy()) ** 2).sum() / len(images)
        expected = ablation.attrs["squared_error"] * (1 + float(ablation["relative"][latent]))
        assert error == pytest.approx(expected, rel=1e-5)


def test_the_whole_pair_is_left_alone_and_the_smaller_one_trains(images):
    model, guide = make_pair()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    smaller, encoder = keep_latents(model, guide, [1, 2], images)
    history = fit(smaller, encoder, images, epochs=3, batch_size=8, compile=False, progress=False, accelerator="cpu")
    assert float(history.loss[-1]) < float(history.loss[0])
    assert history.sizes["latent"] == 2
    assert smaller.prior.latents == smaller.likelihood.decoder.latents == 2
    assert "latents=2" in repr(smaller.prior)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


class TakesSquares(nn.Module):
    """A decoder that takes z in two ways, of which one is no linear layer."""

    latents, image_shape, maps = LATENTS, SHAPE, 1

    def __init__(self) -> None:
        super().__init__()
        self.line, self.square = nn.Linear(LATENTS, 64), nn.Linear(LATENTS, 64)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (self.line(z) + self.square(z**2)).unflatten(-1, SHAPE)


@pytest.mark.parametrize(
    ("pair", "match"),
    [
        (lambda: make_pair(decoder=TakesSquares()), "TakesSquares takes z otherwise than by linear layers"),
        (
            lambda: (make_pair()[0], FullCovarianceNormal(MLPEncoder(SHAPE, hidden=[16]), LATENTS)),
            "the guide makes its latents otherwise than by linear heads",
        ),
        (
            lambda: (
                VAE(MixturePrior(LATENTS, components=3), BernoulliLikelihood(MLPDecoder(LATENTS, SHAPE))),
                MeanFieldNormal(MLPEncoder(SHAPE), LATENTS),
            ),
            "MixturePrior has .* of shape .*it cannot be cut",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused_in_one_line(images, pair, match):
    with pytest.raises(UserError, match=match) as error:
        keep_latents(*pair(), [0, 1], images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [[], [5], [-1], [1, 1]])
def test_numbers_that_are_no_latents_are_named(images, kept):
    with pytest.raises(UserError, match=r"kept=.*expected different numbers from 0 to 4"):
        keep_latents(*make_pair(), kept, images)


def test_several_linear_layers_may_take_z(images):
    """As in a decoder with skips from z: both are cut."""

    class Skips(TakesSquares):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return (self.line(z) + self.square(z).tanh()).unflatten(-1, SHAPE)

    smaller, _ = keep_latents(*make_pair(decoder=Skips()), [0, 4], images)
    assert smaller.likelihood.decoder.square.in_features == 2


def test_an_encoder_as_wide_as_the_code_is_left_alone(images):
    model, _ = make_pair()
    torch.manual_seed(0)
    guide = MeanFieldNormal(MLPEncoder(SHAPE, hidden=[LATENTS]), LATENTS)
    _, encoder = keep_latents(model, guide, [0, 3], images)
    assert encoder.encoder.features == LATENTS
    assert ConvEncoder(SHAPE).features  # another kind has no such layer
