"""The autoregressive flow prior."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import AutoregressiveFlow
from ppvae.errors import UserError, check_whole

__all__ = ["AutoregressiveFlowPrior"]


class AutoregressiveFlowPrior(Described, nn.Module):
    """p(z) = N(f(z); 0, I) |det ∂f/∂z|: f whitens z in one parallel pass. Site ``z`` (latent).

    Scoring, and therefore training, is parallel; a draw inverts f latent by latent. Training begins near N(0, I).
    With a diagonal guide the bound is that of an inverse autoregressive guide through the same f, a standard normal
    prior and the decoder composed with f⁻¹. ``flow`` gives f itself, such as one shared
    with a guide, in place of ``flows`` steps with ``hidden`` units.

    ``delay``: so many training passes with f = identity, p(z) = N(0, I), before f begins to learn. From the first step
    on f soon fits the few codes there are, all latents saying the same, and nothing presses the others to say more:
    training is slow (measured in experiments/results/prior_guide_grid.md). The count is part of the state.

    Errors: :class:`~ppvae.errors.UserError` for widths out of range, a flow with a context or of other latents, or a
    delay with a gated flow, which is never the identity.
    Source: Chen et al. 2017 (VLAE), Sec. 3.2.
    """

    def __init__(
        self,
        latents: int,
        flows: int = 2,
        hidden: Sequence[int] = (320,),
        *,
        flow: AutoregressiveFlow | None = None,
        delay: int = 0,
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 2)
        check_whole("delay", delay, 0)
        self.latents = latents
        self.flow = AutoregressiveFlow(latents, flows, hidden) if flow is None else flow
        if self.flow.latents != latents:
            raise UserError(f"the flow is of {self.flow.latents} latents, the prior of {latents}; give both the same")
        if self.flow.context:
            raise UserError(
                f"the flow takes a context of {self.flow.context}; a prior has none: build it with context=0"
            )
        if delay and self.flow.gated:
            raise UserError(f"delay={delay} needs a flow that can be the identity; this one has a gate: give delay=0")
        self.delay = self.settles = delay
        self.register_buffer("passes", torch.zeros(()))  # training passes so far
        self.register_buffer("loc", torch.zeros(latents), persistent=False)
        self.register_buffer("scale", torch.ones(latents), persistent=False)

    def forward(self) -> torch.Tensor:
        normal = dist.Normal(self.loc, self.scale).to_event(1)
        backwards = [transform.inv for transform in reversed(self.flow.transforms(strength=self._strength()))]
        return pyro.sample("z", dist.TransformedDistribution(normal, backwards), infer={"event_dims": ["latent"]})

    def _strength(self) -> torch.Tensor | None:
        """Zero during the delay, then one; counts a training pass."""
        if not self.delay:
            return None
        strength = (self.passes >= self.delay).to(self.scale.dtype)
        if self.training:
            with torch.no_grad():
                self.passes.add_(1)
        return strength
