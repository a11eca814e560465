"""The Normal-Gamma guide of Jouffroy et al."""

import math
from typing import Literal, get_args

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.distributions import GRepGamma, PrecisionNormal
from ppvae.errors import UserError, check_choice, check_positive
from ppvae.pair.program import Program, record

__all__ = ["NormalGammaGuide", "relaxed_switch"]

Estimator = Literal["implicit", "g-rep"]


def relaxed_switch(p: torch.Tensor, slope: float, *, endpoint_exact: bool = False) -> torch.Tensor:
    """s(p) = sigmoid(slope·(p − ½)), the paper's smooth threshold (Eq. 5); elementwise.

    ``endpoint_exact`` rescales it so that s(0) = 0 and s(1) = 1. Without it, slopes below 21 move the informative
    end of the Normal-Gamma guide's rate by more than 10 %.
    """
    s = torch.sigmoid(slope * (p - 0.5))
    if not endpoint_exact:
        return s
    low = 0.5 * (1 - math.tanh(0.25 * slope))  # sigmoid(-slope / 2)
    return (s - low) / (1 - 2 * low)


class NormalGammaGuide(Program):
    """q(λ, z | x) = Gamma(λ; α(p), β(p)) N(z; μ, 1/λ) with μ(x) and p(x) from the encoder.

    α(p) = α₁ + (α₂ − α₁)·s(p), β(p) likewise, s = :func:`relaxed_switch` (Eq. 5). p is the probability that a latent
    is **un**informative: p = 0 gives ``informative`` = (α₁, β₁), E[1/λ] = 0.09; p = 1 gives ``uninformative`` =
    (α₂, β₂), E[1/λ] = 0.90 (the paper's Eq. 4 has the two swapped; its numbers and Sec. IV have not). Between them the
    path crosses the default prior at p* = ½ − 5.69/slope, where the KL is 0.0134 nats: an unused latent settles
    near p*, so judge a latent by its KL, E[1/λ] or ablation, not by p alone.

    ``estimator``: ``implicit`` (torch's gradient of the Gamma) or ``g-rep`` (the paper's).
    ``initial_probability`` is p before training; at 0 and 1 the double sigmoid is flat and cannot learn.

    Shapes: images (image, C, H, W); sites ``precision``, ``z`` and the recorded ``p``, each (image, latent).
    Errors: :class:`~ppvae.errors.UserError` for an unknown estimator or numbers out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latents: int,
        *,
        estimator: Estimator = "implicit",
        informative: tuple[float, float] = (3.65, 0.24),
        uninformative: tuple[float, float] = (902.0, 810.9),
        slope: float = 30.0,
        endpoint_exact: bool = False,
        initial_probability: float = 0.5,
    ) -> None:
        super().__init__()
        check_choice("estimator", estimator, get_args(Estimator))
        if not 0 < initial_probability < 1:
            raise UserError(f"initial_probability is {initial_probability}; expected a number between 0 and 1")
        for name, ends in (("informative", informative), ("uninformative", uninformative), ("slope", [slope])):
            if name != "slope" and len(ends) != 2:
                raise UserError(f"{name}={ends}: expected two numbers, (shape, rate)")
            for value in ends:
                check_positive(name, value)
        self.encoder = encoder
        self.gamma = dist.Gamma if estimator == "implicit" else GRepGamma
        self.ends = tuple(zip(informative, uninformative, strict=True))
        self.slope = slope
        self.endpoint_exact = endpoint_exact
        self.loc = nn.Linear(feature_count(encoder), latents)
        self.logit = nn.Linear(feature_count(encoder), latents)
        nn.init.constant_(self.logit.bias, torch.logit(torch.tensor(initial_probability)).item())

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        infer = {"event_dims": ["latent"]}
        of_z = {**infer, "parameter_of": "z"}
        features = self.encoder(images, *given)
        with pyro.plate("image", images.shape[-4], dim=-1):
            p = record("p", self.logit(features).sigmoid())
            shape, rate = self.gamma_parameters(p)
            precision = pyro.sample("precision", self.gamma(shape, rate).to_event(1), infer=of_z)
            normal = PrecisionNormal(self.loc(features), precision, mean_precision=shape / rate)
            return pyro.sample("z", normal.to_event(1), infer=infer)

    def gamma_parameters(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(α(p), β(p)) of Eq. 5, each of p's shape."""
        s = relaxed_switch(p, self.slope, endpoint_exact=self.endpoint_exact)
        shape, rate = (low + (high - low) * s for low, high in self.ends)
        return shape, rate
