"""The inverse autoregressive guide."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.distributions import AutoregressiveFlow
from ppvae.errors import UserError
from ppvae.pair.program import Program

__all__ = ["InverseAutoregressiveGuide"]


class InverseAutoregressiveGuide(Program):
    """q(z | x): z = f(z₀; h(x)) with z₀ ~ N(μ(x), diag σ(x)²), f gated autoregressive steps, h(x) an output of its own.

    Each step is z ← σ_t ⊙ z + (1 − σ_t) ⊙ m_t with σ_t = sigmoid(s_t + ``gate_bias``), so that
    log q(z | x) = log N(z₀; μ, σ²) − Σ_t Σ_i log σ_{t,i}, in parallel for its own draw. Any other z has to be inverted
    latent by latent. h is a linear head of the encoder beside μ and log σ², ``context`` numbers wide: all features
    would make a step a quarter slower and the bound no better (measured); at 0 f does not see x. ``flow`` gives f
    itself, such as one shared with an :class:`~ppvae.priors.AutoregressiveFlowPrior`, in place of ``flows`` steps with
    ``hidden`` units; its context is the features themselves, or none.

    Shapes: images (image, C, H, W); site ``z`` (image, latent).
    Errors: :class:`~ppvae.errors.UserError` for widths out of range, or a flow of other latents or another context.
    Source: Kingma et al. 2016, Algorithm 1; there gate_bias is +1 to +2.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latents: int,
        *,
        flows: int = 2,
        hidden: Sequence[int] = (320,),
        context: int = 16,
        gate_bias: float = 2.0,
        flow: AutoregressiveFlow | None = None,
    ) -> None:
        super().__init__()
        features = feature_count(encoder)
        own = flow is None
        if own:
            flow = AutoregressiveFlow(latents, flows, hidden, context=context, gate_bias=gate_bias)
        if flow.latents != latents:
            raise UserError(f"the flow is of {flow.latents} latents, the guide of {latents}; give both the same")
        if not own and flow.context not in (0, features):
            raise UserError(
                f"the flow takes a context of {flow.context}, the encoder gives {features}: expected 0 or that"
            )
        self.encoder = encoder
        self.loc = nn.Linear(features, latents)
        self.log_variance = nn.Linear(features, latents)
        self.context = nn.Linear(features, context) if own and context else nn.Identity()
        self.flow = flow

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", images.shape[-4], dim=-1):
            return pyro.sample("z", self.posterior(images, *given), infer={"event_dims": ["latent"]})

    def posterior(self, images: torch.Tensor, *given: torch.Tensor) -> dist.TorchDistribution:
        """q(z | x) as a distribution: batch shape (image,), event shape (latent,)."""
        features = self.encoder(images, *given)
        start = dist.Normal(self.loc(features), (0.5 * self.log_variance(features)).exp()).to_event(1)
        return dist.TransformedDistribution(start, self.flow.transforms(self.context(features)))
