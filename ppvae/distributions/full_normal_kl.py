"""KL of a normal with full covariance from a diagonal one, which torch and Pyro lack."""

import torch
from pyro.distributions import Independent, MultivariateNormal, Normal
from torch.distributions import register_kl

__all__ = []


@register_kl(MultivariateNormal, Independent)
def _kl_full_diagonal(q: MultivariateNormal, p: Independent) -> torch.Tensor:
    """½ Σ_k [(Σ_kk + (μ_k − m_k)²) / s_k² − 1 + log s_k² − log L_kk²] for N(μ, Σ = LLᵀ) and N(m, diag s²)."""
    normal = p.base_dist
    if not isinstance(normal, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    squares = q.variance + (q.loc - normal.loc).square()
    logs = normal.scale.log() - q.scale_tril.diagonal(dim1=-2, dim2=-1).log()
    return (0.5 * (squares / normal.scale.square() - 1) + logs).sum(-1)
