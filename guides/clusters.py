"""q(cluster | x) in three ways: relaxed as published, enumerated, and the best there is."""

import warnings

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import Membership, RelaxedMembership
from ppvae.errors import UserError, check_not_negative, check_positive, check_whole
from ppvae.pair.program import record
from ppvae.priors import ClusterPrior

__all__ = ["EnumeratedClusters", "OptimalClusters", "RelaxedClusters"]

SUMMED_OUT = {"event_dims": ["component"], "enumerate": "parallel"}


class EnumeratedClusters(Described, nn.Module):
    """q(cluster | x) = Cat(softmax(W h + b)), summed out exactly wherever the objective or Pyro's TraceEnum_ELBO can.

    Shapes: ``features``, the width of the encoder's output h (image, features); site ``cluster`` (image, component), a
    one-hot vector; ``cluster_probability`` (image, component) is recorded.
    Source: Anonymous 2019, "Explicit information placement on latent variables using auxiliary generative modelling
    task", Sec. 3.2, without its relaxation.
    """

    def __init__(self, features: int, clusters: int = 30) -> None:
        super().__init__()
        check_whole("clusters", clusters, 2)
        self.logits = nn.Linear(features, clusters)

    def forward(self, features: torch.Tensor, q_global: dist.TorchDistribution) -> torch.Tensor:
        del q_global
        return _drawn(self.logits(features))


class RelaxedClusters(Described, nn.Module):
    """q(cluster | x) by Gumbel-softmax, as published: y = softmax((W h + b + Gumbel noise) / τ) while training.

    ``temperature``: τ, fixed; with ``final`` and ``steps`` it falls geometrically from the one to the other over so
    many training steps, and stays. In evaluation mode the guide draws the categorical itself, so that exports, log p(x)
    and bounds are of the discrete model.

    The training objective is no bound, of which a warning tells: KL(q(y | x) ‖ p(y)) is the categorical one, while
    z's prior sees a point inside the simplex, whose interpolated normal may fit z better than any cluster.

    Shapes as for :class:`EnumeratedClusters`.
    Errors: :class:`~ppvae.errors.UserError` for a temperature that is not positive, or ``final`` without ``steps``.
    Sources: Anonymous 2019, as there, Sec. 3.2; Jang, Gu and Poole 2017.
    """

    step: torch.Tensor

    def __init__(
        self,
        features: int,
        clusters: int = 30,
        temperature: float = 0.4,
        *,
        final: float | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("clusters", clusters, 2)
        check_positive("temperature", temperature)
        if (final is None) != (steps is None):
            raise UserError(
                f"final={final!r}, steps={steps!r}: annealing the temperature takes both, a fixed one neither"
            )
        if final is not None:
            check_positive("final", final)
            check_whole("steps", steps, 1)
        self.first, self.final, self.steps = temperature, final or temperature, steps or 1
        self.settles = steps or 0
        self.logits = nn.Linear(features, clusters)
        self.register_buffer("step", torch.zeros(()))
        warnings.warn(
            "RelaxedClusters trains on an objective that is no bound of log p(x); "
            "EnumeratedClusters and OptimalClusters train on one",
            stacklevel=2,
        )

    @property
    def temperature(self) -> torch.Tensor:
        """τ of the next training step, a scalar."""
        return self.first * (self.final / self.first) ** (self.step / self.steps).clamp(max=1)

    def forward(self, features: torch.Tensor, q_global: dist.TorchDistribution) -> torch.Tensor:
        del q_global
        logits = self.logits(features)
        if not self.training:
            return _drawn(logits)
        record("cluster_probability", logits.softmax(-1), ("component",))
        relaxed = RelaxedMembership(self.temperature, logits=logits)
        y = pyro.sample("cluster", relaxed, infer={"event_dims": ["component"]})
        with torch.no_grad():
            self.step.add_(1)
        return y


class OptimalClusters(Described, nn.Module):
    """q(y = k | x) ∝ π_k exp(−weight·KL(q(z | x) ‖ p(z | k))): the best q(cluster | x) beside the given q(z | x).

    It has no parameters of its own, and the cluster's part of the bound is −log Σ_k π_k exp(−KL_k). ``weight``: the
    weight of z's KL over that of the cluster's, β for :class:`~ppvae.BetaELBO`; the best q(y | x) is then the best for
    that objective.

    Shapes as for :class:`EnumeratedClusters`; ``prior`` is the model's own.
    Source: Jiang et al. 2017, "Variational deep embedding", App. A, with the expectation over z taken inside the
    logarithm's exponent (Falck et al. 2021, "Multi-facet clustering variational autoencoders").
    """

    def __init__(self, prior: ClusterPrior, weight: float = 1.0) -> None:
        super().__init__()
        check_not_negative("weight", weight)
        if not isinstance(prior, ClusterPrior):
            raise UserError(f"prior is a {type(prior).__name__}; OptimalClusters needs the model's ClusterPrior")
        self.prior, self.weight = prior, weight

    def forward(self, features: torch.Tensor, q_global: dist.TorchDistribution) -> torch.Tensor:
        del features
        return _drawn(self.prior.logits - self.weight * self.prior.rates(q_global))


def _drawn(logits: torch.Tensor) -> torch.Tensor:
    record("cluster_probability", logits.softmax(-1), ("component",))
    return pyro.sample("cluster", Membership(logits=logits), infer=dict(SUMMED_OUT))
