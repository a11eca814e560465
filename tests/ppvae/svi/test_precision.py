"""bf16: networks alone, distributions in single precision, captured as well."""

import numpy as np
import pytest
import torch
from torch import nn

from guides import InverseAutoregressiveGuide, MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, BetaELBO, fit
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from ppvae.priors import AutoregressiveFlowPrior, NormalGammaPrior, NormalPrior, VampPrior
from ppvae.svi import Recipe
from ppvae.svi.precision import in_bf16, networks_of
from ppvae.svi.step import Step

SHAPE, LATENTS = (1, 8, 8), 3
IMAGES = torch.rand(24, *SHAPE, generator=torch.Generator().manual_seed(0))


def make_pair(kind: str):
    torch.manual_seed(0)
    encoder, decoder = MLPEncoder(SHAPE, (16,)), MLPDecoder(LATENTS, SHAPE, (16,))
    guide = MeanFieldNormal(encoder, LATENTS)
    if kind == "normal":
        return VAE(NormalPrior(LATENTS), NormalLikelihood(decoder, 0.3)), guide
    if kind == "normal_gamma":
        return VAE(NormalGammaPrior(LATENTS), NormalLikelihood(decoder, 0.3)), NormalGammaGuide(encoder, LATENTS)
    if kind == "flows":
        prior = AutoregressiveFlowPrior(LATENTS, hidden=(8,))
        return VAE(prior, NormalLikelihood(decoder, 0.3)), InverseAutoregressiveGuide(encoder, LATENTS, hidden=(8,))
    if kind == "vamp":
        return VAE(VampPrior(LATENTS, SHAPE, components=2, guide=guide), BernoulliLikelihood(decoder)), guide
    shape = (3, 32, 32)
    decoder = ConvDecoder(LATENTS, shape, (8, 8))
    return VAE(NormalPrior(LATENTS), NormalLikelihood(decoder, 0.3)), MeanFieldNormal(
        ConvEncoder(shape, (8, 8)), LATENTS
    )


def images_of(kind: str) -> torch.Tensor:
    return torch.rand(24, 3, 32, 32) if kind == "convolutional" else IMAGES.round() if kind == "vamp" else IMAGES


KINDS = ["normal", "normal_gamma", "flows", "vamp", "convolutional"]


def test_the_networks_are_what_draws_nothing_and_gives_tensors():
    model, guide = make_pair("normal_gamma")
    pair = nn.ModuleDict({"model": model, "guide": guide})
    names = {part: name for name, part in pair.named_modules()}
    found = networks_of(pair, lambda: BetaELBO().measure(model, guide, IMAGES))
    assert {names[part] for part in found} == {"guide.encoder", "guide.loc", "guide.logit", "model.likelihood.decoder"}


def test_networks_compute_in_bf16_and_distributions_do_not():
    model, guide = make_pair("normal")
    pair = nn.ModuleList([model, guide])
    seen = []
    for part in (guide.encoder.layers[0], model.likelihood.decoder.layers[0]):
        part.register_forward_hook(lambda _part, _inputs, output: seen.append(output.dtype))
    networks = networks_of(pair, lambda: BetaELBO().measure(model, guide, IMAGES))
    seen.clear()
    with in_bf16(networks, torch.device("cpu")):
        terms = BetaELBO().measure(model, guide, IMAGES)
    assert seen == [torch.bfloat16] * 2
    assert terms.distortion.dtype == terms.rate.dtype == torch.float32
    seen.clear()
    BetaELBO().measure(model, guide, IMAGES)
    assert seen == [torch.float32] * 2  # nothing is left behind


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_that_of_full_precision_but_for_rounding(kind):
    """Eight bits of mantissa: log p of a normal moves by |x − μ|/σ² · 2⁻⁸ |μ| a pixel, here below 1 % of the loss."""
    losses = {}
    for precision in ("full", "bf16"):
        model, guide = make_pair(kind)
        step = Step(model, guide, BetaELBO(), precision=precision)
        images, numbers = images_of(kind), torch.tensor(())
        step.prepare(images, numbers, execution="eager")
        torch.manual_seed(1)
        losses[precision] = float(step(images, numbers)[0].detach())
    assert losses["bf16"] != losses["full"]
    assert abs(losses["bf16"] / losses["full"] - 1) < 0.01


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.long) if kind in ("normal", "vamp") else kind for kind in KINDS]
)
def test_it_is_captured_and_trains_as_eager_steps_do(kind):
    model, guide = make_pair(kind)
    settings = {"epochs": 2, "batch_size": 8, "recipe": Recipe(precision="bf16"), "progress": False}
    captured = fit(model, guide, images_of(kind), execution="captured", accelerator="cpu", **settings)
    assert captured.execution == "captured"
    eager = fit(*make_pair(kind), images_of(kind), compile=False, accelerator="cpu", **settings)
    np.testing.assert_allclose(captured.loss, eager.loss, rtol=2e-2)
    assert all(value.dtype != torch.bfloat16 for program in (model, guide) for value in program.state_dict().values())


def test_a_captured_step_computes_in_bf16():
    model, guide = make_pair("normal")
    step = Step(model, guide, BetaELBO(), precision="bf16")
    step.prepare(IMAGES, torch.tensor(()), execution="captured")
    assert step.execution == "captured"
    products = [node for node in step.run.graph.nodes if "linear" in str(node.target)]
    assert products
    assert {node.meta["val"].dtype for node in products} == {torch.bfloat16}
