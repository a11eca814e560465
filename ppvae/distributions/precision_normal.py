"""The normal half of a Normal-Gamma distribution."""

import torch
from pyro.distributions import Normal
from torch.distributions import Normal as TorchNormal
from torch.distributions import kl_divergence, register_kl

from ppvae.described import one_line

__all__ = ["PrecisionNormal"]


class PrecisionNormal(Normal):
    """N(z; loc, 1/precision): z given its precision in a Normal-Gamma pair.

    ``mean_precision`` is E[precision] under the guide where it is known. KL(q ‖ p) then averages over the shared
    precision in closed form, E[λ]·(μ_q − μ_p)²/2 (Jouffroy et al., Eq. 9), instead of using the one sampled λ.

    Shapes: all arguments broadcast to the batch shape; event shape ().
    """

    def __init__(
        self,
        loc: torch.Tensor,
        precision: torch.Tensor,
        *,
        mean_precision: torch.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.precision = precision
        self.mean_precision = mean_precision
        super().__init__(loc, precision.rsqrt(), validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "loc", "precision", "mean_precision")

    def expand(self, batch_shape: torch.Size, _instance: "PrecisionNormal | None" = None) -> "PrecisionNormal":
        new = super().expand(batch_shape, self._get_checked_instance(PrecisionNormal, _instance))
        new.precision = self.precision  # not expanded: KL recognises a shared precision by identity
        new.mean_precision = self.mean_precision
        return new


@register_kl(PrecisionNormal, PrecisionNormal)
def _kl_precision_normal(q: PrecisionNormal, p: PrecisionNormal) -> torch.Tensor:
    if q.precision is not p.precision:
        return kl_divergence(TorchNormal(q.loc, q.scale), TorchNormal(p.loc, p.scale))
    precision = q.precision if q.mean_precision is None else q.mean_precision
    return 0.5 * precision * (q.loc - p.loc).square()
