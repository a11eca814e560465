"""The slides' theorem on a trained model: an AF prior and the matching IAF posterior have one bound."""

import copy
from pathlib import Path
from typing import cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from guides import InverseAutoregressiveGuide, MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError
from ppvae.distributions import AutoregressiveFlow
from ppvae.nouns import noun_of
from ppvae.priors import AutoregressiveFlowPrior, NormalPrior

from ..assemble import assemble
from ..provenance import environment
from ..publication import publish
from ..report import Table
from ..training import train

__all__ = ["FlowFirst", "matching_iaf", "run"]


class FlowFirst(nn.Module):
    """p(x | z) = likelihood(f⁻¹(z)): the decoder of the inverse autoregressive pair, f's inverse before it."""

    def __init__(self, likelihood: nn.Module, flow: AutoregressiveFlow) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.flow = flow

    def forward(self, z: torch.Tensor) -> torch.distributions.Distribution:
        for transform in reversed(self.flow.transforms()):
            z = transform.inv(z)
        return self.likelihood(z)


def matching_iaf(model: VAE, guide: MeanFieldNormal) -> tuple[VAE, InverseAutoregressiveGuide]:
    """The pair with a standard normal prior and ``guide`` pushed through the prior's f; it shares all parameters."""
    prior = cast(AutoregressiveFlowPrior, model.prior)
    flow, latents = prior.flow, prior.latents
    iaf = InverseAutoregressiveGuide(guide.encoder, latents, flow=flow)
    iaf.loc, iaf.log_variance = guide.loc, guide.log_variance
    return VAE(NormalPrior(latents), FlowFirst(model.likelihood, flow)).to(guide.loc.weight), iaf


def run(configuration: DictConfig, directory: Path) -> Path:
    """Train the AF pair, then compare its bound and gradient with the IAF pair's at one noise, in double precision."""
    parts = assemble(configuration)
    if not isinstance(parts.model.prior, AutoregressiveFlowPrior) or not isinstance(parts.guide, MeanFieldNormal):
        raise UserError("af_equals_iaf needs prior=autoregressive_flow and guide=mean_field")
    train(parts, configuration, directory, epochs=configuration.trainer.epochs, resume=configuration.resume is not None)
    model, guide = copy.deepcopy((cast(VAE, parts.model), parts.guide))
    model, guide = model.double().cpu().eval(), guide.double().cpu().eval()
    images = parts.data.observed(slice(min(configuration.posterior.images, len(parts.data))), configuration.seed)
    pairs: list[tuple[VAE, nn.Module]] = [(model, guide), matching_iaf(model, guide)]
    bounds, gradients = zip(*(_measured(*pair, images.double(), configuration.seed) for pair in pairs), strict=True)
    noun = noun_of(parts.data)
    shared = gradients[0].keys() & gradients[1].keys()
    differences = {
        f"largest difference of {noun.a}'s bound (nats)": (bounds[0] - bounds[1]).abs().max(),
        "largest relative difference of a gradient": max(_relative(*(g[key] for g in gradients)) for key in shared),
    }
    rows = [["bound by the AF prior, mean (nats)", f"{bounds[0].mean():.6f}"]]
    rows += [["bound by the IAF guide, mean (nats)", f"{bounds[1].mean():.6f}"]]
    rows += [[name, f"{value:.1e}"] for name, value in differences.items()]
    caption = f"{len(images)} {noun.many}, one draw of the noise each, after {configuration.trainer.epochs} epochs."
    table = Table("One bound, two pairs", ["what", "value"], rows, caption)
    facts = {"data": parts.data.description, **environment(configuration.seed)}
    return publish(
        directory,
        title="AF prior = IAF posterior",
        lead="The same f, before or after: log p(z) under the autoregressive flow prior moves into log q.",
        table=table,
        configuration=OmegaConf.to_yaml(configuration, resolve=True),
        facts=facts,
    )


def _measured(
    model: VAE, guide: nn.Module, images: torch.Tensor, seed: int
) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """The one-sample bound of each image, and the gradient of their mean by parameter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        terms = BetaELBO(estimator="trace").measure(model, guide, images)
    bound = -(terms.distortion + terms.rate)
    parameters = {id(parameter): parameter for part in (model, guide) for parameter in part.parameters()}
    gradients = torch.autograd.grad(bound.mean(), list(parameters.values()), allow_unused=True)
    found = {key: gradient for key, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    return bound.detach(), found


def _relative(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first - second).abs().max() / first.abs().max().clamp(min=1e-300)
