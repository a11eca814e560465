"""The spike-and-slab guide."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.distributions import Gate, RelaxedGate
from ppvae.errors import UserError, check_positive
from ppvae.pair.program import Program, record

__all__ = ["SpikeAndSlabGuide"]

SPEED = 10.0  # of a gate's logit over its parameter, which moves by no more than the learning rate a step


class SpikeAndSlabGuide(Program):
    """q(g) q(z | g, x): a latent's gate is open with probability γ; z ~ N(μ(x), σ(x)²) where it is, else as the prior.

    γ is a latent's own, the same for all images, though each draws its gate: what selects latents. With ``per_image``
    it is γ(x), of each image, which looks for a sparse code instead: in a linear model of three factors, for which
    three open latents would do, six then share the images among them.

    While training a gate is relaxed to sigmoid((logit γ + logistic noise) / ``temperature``), between whose ends
    q(z | g, x) = N(gμ, σ^2g): the gradient has little noise, and the objective is no bound. In evaluation mode gates
    are open or shut, so that what is exported or measured is of the discrete model. ``temperature=None`` trains on
    those too, on a bound, by score functions, whose noise grows with the images' nats.

    γ is recorded as ``gate_probability``; before training it is near ``initial_probability``.

    Shapes: images (image, C, H, W); sites ``gate``, ``z`` and the recorded ``gate_probability``, (image, latent) each.
    Errors: :class:`~ppvae.errors.UserError` for numbers out of range.
    Sources: Tonolini, Jensen and Murray-Smith 2019, "Variational sparse coding"; Maddison, Mnih and Teh 2017.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latents: int,
        *,
        temperature: float | None = 0.4,
        per_image: bool = False,
        initial_probability: float = 0.5,
    ) -> None:
        super().__init__()
        if temperature is not None:
            check_positive("temperature", temperature)
        if not 0 < initial_probability < 1:
            raise UserError(f"initial_probability={initial_probability!r}: expected a number between 0 and 1")
        self.encoder, self.temperature = encoder, temperature
        self.loc = nn.Linear(feature_count(encoder), latents)
        self.log_variance = nn.Linear(feature_count(encoder), latents)
        start = math.log(initial_probability) - math.log1p(-initial_probability)
        self.logit = nn.Linear(feature_count(encoder), latents) if per_image else None
        self.tenths = None if per_image else nn.Parameter(torch.full((latents,), start / SPEED))
        if self.logit is not None:
            nn.init.constant_(self.logit.bias, start)

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        infer = {"event_dims": ["latent"]}
        features = self.encoder(images, *given)
        loc, log_scale = self.loc(features), 0.5 * self.log_variance(features)
        logits = (SPEED * self.tenths).expand_as(loc) if self.logit is None else self.logit(features)
        with pyro.plate("image", images.shape[-4], dim=-1):
            record("gate_probability", logits.sigmoid())
            gate = pyro.sample("gate", self._gate(logits).to_event(1), infer={**infer, "parameter_of": "z"})
            return pyro.sample("z", dist.Normal(gate * loc, (gate * log_scale).exp()).to_event(1), infer=infer)

    def _gate(self, logits: torch.Tensor) -> Gate:
        relaxed = self.training and self.temperature is not None
        return RelaxedGate(self.temperature, logits) if relaxed else Gate(logits)
