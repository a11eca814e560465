"""Two views: bounds against an exact linear-Gaussian pair, and where information can and cannot be."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from guides import TwoViewGuide
from ppvae import BetaELBO, TwoViewVAE, UserError, check_pair, fit, from_pyro_svi, log_marginal
from ppvae.datasets import ImageDataset
from ppvae.likelihoods import NormalLikelihood
from ppvae.models.transformations import PatchShuffle
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.terms import pair_traces
from ppvae.priors import NormalPrior

SHAPE = (1, 4, 4)
PIXELS = math.prod(SHAPE)
SCALE = 0.4


class LinearLikelihood(nn.Module):
    """N(x; W z, SCALE²)."""

    def __init__(self, loadings: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("loadings", loadings)

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        mean = (z @ self.loadings.T).unflatten(-1, SHAPE)
        return dist.Normal(mean, SCALE).to_event(3)


class ExactGuide(nn.Module):
    """The exact posterior of both codes given image and view, as one site each: p(z_l | x, x̂), p(z_g | z_l, x, x̂)."""

    def __init__(self, model: TwoViewVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> None:
        whole, local = self.model.likelihood.loadings, self.model.shuffled_likelihood.loadings
        loadings = torch.cat([whole, torch.cat([torch.zeros(PIXELS, 1), local], 1)])
        covariance = (torch.eye(2) + loadings.T @ loadings / SCALE**2).inverse()
        with pyro.plate("image", images.shape[-4], dim=-1):
            view = self.model.draw_view(images)
            both = torch.cat([images.flatten(-3).expand(*view.shape[:-3], PIXELS), view.flatten(-3)], -1)
            mean = both @ loadings @ covariance / SCALE**2
            z_local = pyro.sample("z_local", dist.Normal(mean[..., 1:], covariance[1, 1].sqrt()).to_event(1))
            slope = covariance[0, 1] / covariance[1, 1]
            rest = (covariance[0, 0] - slope * covariance[0, 1]).sqrt()
            shifted = mean[..., :1] + slope * (z_local - mean[..., 1:])
            pyro.sample("z_global", dist.Normal(shifted, rest).to_event(1))


def flip(images: torch.Tensor) -> torch.Tensor:
    """A view without randomness, so that log p(x, x̂) is one number."""
    return images.flip(-1)


@pytest.fixture
def linear() -> TwoViewVAE:
    whole, local = torch.randn(PIXELS, 2), torch.randn(PIXELS, 1)
    priors = NormalPrior(1, site="z_global"), NormalPrior(1, site="z_local")
    return TwoViewVAE(*priors, LinearLikelihood(whole), LinearLikelihood(local), flip)


def evidence(model: TwoViewVAE, images: torch.Tensor, *, joint: bool) -> torch.Tensor:
    """log p(x, x̂), or log p(x) alone, of each image."""
    whole, local = model.likelihood.loadings, model.shuffled_likelihood.loadings
    loadings, both = whole, images.flatten(1)
    if joint:
        loadings = torch.cat([whole, torch.cat([torch.zeros(PIXELS, 1), local], 1)])
        both = torch.cat([images.flatten(1), flip(images).flatten(1)], 1)
    covariance = (loadings @ loadings.T + SCALE**2 * torch.eye(len(loadings))).double()
    return dist.MultivariateNormal(torch.zeros(len(loadings)).double(), covariance).log_prob(both.double())


def encoders() -> tuple[MLPEncoder, MLPEncoder]:
    return MLPEncoder(SHAPE, (8,)), MLPEncoder(SHAPE, (8,))


def test_the_exact_posterior_attains_the_evidence_of_both_views(linear):
    """With q = p(z | x, x̂) every importance weight is p(x, x̂): float32 sums of 32 pixels, to 1e-3 nats."""
    images = torch.randn(5, *SHAPE)
    found = log_marginal(linear, ExactGuide(linear), images, 7)
    torch.testing.assert_close(
        torch.from_numpy(found["log_marginal"].values), evidence(linear, images, joint=True), atol=1e-3, rtol=0
    )


def test_any_guide_bounds_the_evidence_and_many_draws_meet_it(linear):
    images = 0.5 * torch.randn(4, *SHAPE)
    guide = TwoViewGuide(*encoders(), 1, 1, flip)
    wanted = evidence(linear, images, joint=True)
    found = log_marginal(linear, guide, images, 20_000, batch_size=40_000)
    assert (torch.from_numpy(found["elbo"].values) < wanted).all()
    _meets(found, wanted)


def test_without_the_view_the_bound_is_of_the_image_alone(linear):
    """The view is side randomness of the guide: hidden in the model, what is left bounds log p(x)."""
    images = 0.3 * torch.randn(4, *SHAPE)
    alone = poutine.block(linear, hide=["x_shuffled"])
    wide = TwoViewGuide(*encoders(), 1, 1, flip)
    found = log_marginal(alone, wide, images, 50_000, batch_size=100_000)
    wanted = evidence(linear, images, joint=False)
    assert (torch.from_numpy(found["elbo"].values) < wanted).all()
    _meets(found, wanted)


def _meets(found: xr.Dataset, wanted: torch.Tensor) -> None:
    """Within five standard errors, 1/√(effective samples) nats each, where these are a hundred or more."""
    effective = torch.from_numpy(found["effective_samples"].values)
    assert (effective > 100).any(), "too few draws to tell"
    error = (torch.from_numpy(found["log_marginal"].values) - wanted).abs()
    assert (error < 5 / effective.sqrt())[effective > 100].all()


def test_the_local_code_sees_the_view_alone():
    guide = TwoViewGuide(*encoders(), 2, 3, lambda images: torch.ones_like(images))
    images = torch.rand(4, *SHAPE, requires_grad=True)
    trace = poutine.trace(guide).get_trace(images)
    local, whole = (trace.nodes[name]["fn"].base_dist.loc for name in ("z_local", "z_global"))
    assert torch.autograd.grad(local.sum(), images, allow_unused=True, retain_graph=True)[0] is None
    assert torch.autograd.grad(whole.sum(), images)[0].abs().sum() > 0


def test_model_and_guide_share_one_view():
    shuffle = PatchShuffle(1)
    pair = _pair(shuffle)
    guide_trace, model_trace = pair_traces(*pair, torch.rand(6, *SHAPE))
    view = guide_trace.nodes["view"]["value"]
    assert torch.equal(model_trace.nodes["x_shuffled"]["value"], view)
    assert not torch.equal(view, pair_traces(*pair, torch.rand(6, *SHAPE))[0].nodes["view"]["value"])


def _pair(transformation) -> tuple[TwoViewVAE, TwoViewGuide]:
    priors = NormalPrior(2, site="z_global"), NormalPrior(3, site="z_local")
    both, local = MLPDecoder(5, SHAPE, (8,)), MLPDecoder(3, SHAPE, (8,))
    model = TwoViewVAE(*priors, NormalLikelihood(both, 0.2), NormalLikelihood(local, 0.2), transformation)
    return model, TwoViewGuide(*encoders(), 2, 3, transformation)


def test_it_trains_captured_and_by_plain_svi_and_exports():
    model, guide = _pair(PatchShuffle(2))
    images = torch.rand(32, *SHAPE)
    check_pair(model, guide, images[:4], BetaELBO())
    data = ImageDataset((images * 255).round().to(torch.uint8))
    history = fit(model, guide, data, BetaELBO(beta=2.0), epochs=3, batch_size=16, progress=False, compile=False)
    assert history["elbo"][-1] > history["elbo"][0]
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
    losses = []
    for loss in (svi.evaluate_loss, lambda batch: len(batch) * float(BetaELBO(estimator="trace")(model, guide, batch))):
        torch.manual_seed(3)
        with torch.no_grad():
            losses.append(loss(images))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # of one view and one draw, Pyro's sum over the images
    before = [parameter.clone() for parameter in guide.parameters()]
    assert math.isfinite(svi.step(images))
    assert not any(map(torch.equal, before, guide.parameters()))
    pyro.clear_param_store()
    tree = from_pyro_svi(model, guide, images[:5], 4)
    assert set(tree["posterior"].data_vars) == {"z_global", "z_local"}
    assert tree["posterior"]["z_local"].dims == ("chain", "draw", "image", "latent_local")
    assert set(tree["log_likelihood"].data_vars) == {"x", "x_shuffled"}
    assert {"kl_z_global", "kl_z_local"} <= set(tree["sample_stats"].data_vars)


def test_it_draws_images_and_views():
    model, _ = _pair(PatchShuffle(2))
    trace = poutine.trace(model).get_trace(size=6)
    assert trace.nodes["x"]["value"].shape == trace.nodes["x_shuffled"]["value"].shape == (6, *SHAPE)
    assert "view" not in trace.nodes


def test_decoders_of_another_size_end_in_one_line():
    priors = NormalPrior(2, site="z_global"), NormalPrior(3, site="z_local")
    small = NormalLikelihood(MLPDecoder(3, SHAPE, (8,)), 0.2)
    with pytest.raises(UserError, match="likelihood's decoder takes 3 latents, its priors draw 5"):
        TwoViewVAE(*priors, small, small, PatchShuffle(2))
