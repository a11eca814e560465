"""Values of which some are missing."""

import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.util import sum_rightmost
from torch.distributions import constraints

from ppvae.described import one_line

__all__ = ["PartlyObserved"]

ONE = torch.Size()


class _OrMissing(constraints.Constraint):
    """What the base allows, or NaN."""

    def __init__(self, base: constraints.Constraint) -> None:
        self.base, self.is_discrete, self.event_dim = base, base.is_discrete, base.event_dim

    def check(self, value: torch.Tensor) -> torch.Tensor:
        missing = value.isnan()
        return self.base.check(torch.where(missing, 0.0, value)) | missing

    def __repr__(self) -> str:
        return f"{self.base!r} or missing"


class PartlyObserved(TorchDistribution):
    """The density of what is observed of independent entries: ``base_dist.to_event(event_dim)``, NaN integrated out.

    log p(x) = Σ over the entries of x that are no NaN of log p(x_i). A missing entry contributes exactly nothing,
    to the density and to all gradients. What is drawn has no gaps.

    Shapes: base_dist with batch shape (*batch, *event) and no event dims → batch shape (*batch), event shape (*event).
    Validity: zero is in its support, where the missing entries are evaluated before they are left out; entries
    are missing at random, given what is observed (Rubin 1976), for the bound to be one of the complete data's model.
    Source: Mattei and Frellsen 2019 (MIWAE), Eq. 2.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own convention

    def __init__(self, base_dist: TorchDistribution, event_dim: int, *, validate_args: bool | None = None) -> None:
        self.base_dist = base_dist
        shape, batch = base_dist.batch_shape, len(base_dist.batch_shape) - event_dim
        super().__init__(shape[:batch], shape[batch:], validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "base_dist", "event_dim")

    @property
    def has_rsample(self) -> bool:
        return self.base_dist.has_rsample

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return constraints.independent(_OrMissing(self.base_dist.support), self.event_dim)

    def expand(self, batch_shape: torch.Size, _instance: "PartlyObserved | None" = None) -> "PartlyObserved":
        new = self._get_checked_instance(PartlyObserved, _instance)
        new.base_dist = self.base_dist.expand(torch.Size(batch_shape) + self.event_shape)
        super(PartlyObserved, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        missing = value.isnan()
        entries = self.base_dist.log_prob(torch.where(missing, 0.0, value))
        return sum_rightmost(torch.where(missing, 0.0, entries), self.event_dim)

    def rsample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        return self.base_dist.rsample(sample_shape)

    def sample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        return self.base_dist.sample(sample_shape)

    @property
    def mean(self) -> torch.Tensor:
        return self.base_dist.mean

    @property
    def variance(self) -> torch.Tensor:
        return self.base_dist.variance
