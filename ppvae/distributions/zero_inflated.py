"""Pyro's zero-inflated counts, which can be expanded after their gate was asked for."""

from typing import Any

import pyro.distributions as dist
import torch
from torch.distributions import constraints

from ppvae.described import one_line

__all__ = ["ZeroInflatedNegativeBinomial", "ZeroInflatedPoisson"]


class _ByLogits:
    """Of ``gate_logits`` alone. Pyro keeps the probabilities, once computed for a draw or a mean, beside the logits
    that they came from, and then refuses to expand what seems to be given both."""

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Any:
        vars(self).pop("gate", None)
        return super().expand(batch_shape, _instance)


class ZeroInflatedPoisson(_ByLogits, dist.ZeroInflatedPoisson):
    """:class:`pyro.distributions.ZeroInflatedPoisson` with ``gate_logits``."""

    def __repr__(self) -> str:
        return one_line(self, "rate", "gate_logits")


class ZeroInflatedNegativeBinomial(_ByLogits, dist.ZeroInflatedNegativeBinomial):
    """:class:`pyro.distributions.ZeroInflatedNegativeBinomial` with ``logits`` and ``gate_logits``.

    Pyro's validation asks for probabilities below one, which those of large logits round to.
    """

    arg_constraints = {  # noqa: RUF012 - torch's own convention
        "total_count": constraints.greater_than_eq(0),
        "logits": constraints.real,
        "gate_logits": constraints.real,
    }

    def __repr__(self) -> str:
        return one_line(self, "total_count", "logits", "gate_logits")
