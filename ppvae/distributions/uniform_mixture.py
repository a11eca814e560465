"""A mixture of distributions over real vectors whose weights are equal."""

import math

import torch
from pyro.distributions import TorchDistribution
from torch.distributions import Distribution, constraints

from ppvae.described import one_line

__all__ = ["UniformMixture"]

ONE = torch.Size()


class UniformMixture(TorchDistribution):
    """(1/K) Σ_k p_k(z): a component drawn uniformly, then a draw of it.

    The component's index carries no parameters, so the draw's pathwise gradient is unbiased for every E[f(z)] as soon
    as the components are reparameterised; the density is the whole mixture's, whichever component drew z.

    Shapes: components: batch shape (..., K), event shape (n,) → batch shape (...), event shape (n,).
    Source: Hotti et al. 2024, the some-to-all estimator with one sampled component.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own form of it
    support = constraints.real_vector

    def __init__(self, components: Distribution, *, validate_args: bool | None = None) -> None:
        self.components = components
        super().__init__(components.batch_shape[:-1], components.event_shape, validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "components")

    @property
    def has_rsample(self) -> bool:
        return self.components.has_rsample

    @property
    def mean(self) -> torch.Tensor:
        return self.components.mean.mean(-2)

    @property
    def variance(self) -> torch.Tensor:
        """The components' mean variance and the variance of their means."""
        return self.components.variance.mean(-2) + self.components.mean.var(-2, correction=0)

    def expand(self, batch_shape: torch.Size, _instance: "UniformMixture | None" = None) -> "UniformMixture":
        new = self._get_checked_instance(UniformMixture, _instance)
        new.components = self.components.expand((*batch_shape, self.components.batch_shape[-1]))
        super(UniformMixture, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def sample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        with torch.no_grad():
            return _one_of(self.components.sample(sample_shape))

    def rsample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        return _one_of(self.components.rsample(sample_shape))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.components.log_prob(value.unsqueeze(-2)).logsumexp(-1) - math.log(self.components.batch_shape[-1])


def _one_of(draws: torch.Tensor) -> torch.Tensor:
    """One of the K draws of each mixture, uniformly; draws (..., K, n) → (..., n)."""
    chosen = torch.randint(draws.shape[-2], draws.shape[:-2], device=draws.device)
    return torch.take_along_dim(draws, chosen[..., None, None], dim=-2).squeeze(-2)
