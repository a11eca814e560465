"""The generalised reparameterisation gradient of the Gamma distribution."""

import torch
from pyro.distributions import Gamma, Independent
from pyro.distributions.score_parts import ScoreParts
from pyro.distributions.util import sum_rightmost

__all__ = ["GRepGamma"]

ONE = torch.Size()


class _IndependentGRep(Independent):
    """``Independent`` that keeps its base's score function; Pyro's own drops it, which biases the gradient."""

    def score_parts(self, x: torch.Tensor, *args: object, **kwargs: object) -> ScoreParts:
        parts = self.base_dist.score_parts(x, *args, **kwargs)
        return ScoreParts(*(sum_rightmost(part, self.reinterpreted_batch_ndims) for part in parts))


class GRepGamma(Gamma):
    """Gamma(shape, rate) whose gradients are G-REP's instead of torch's implicit ones.

    λ = T(ε) = exp(ε√ψ₁(α) + ψ(α) − log β). The density of ε depends on α only,
    log q(ε; α) = αs − eˢ − log Γ(α) + ½ log ψ₁(α) with s = ε√ψ₁(α) + ψ(α), so that
    ∇E[f] = E[f′(λ) ∇T(ε)] + E[f(λ) ∇log q(ε; α)] (Jouffroy et al., Eqs. 13-15; Ruiz, Titsias and Blei 2016).
    The first term flows through :meth:`rsample`, the second is the score function of :meth:`score_parts`, all of it
    elementwise. ``Trace_ELBO`` and the objectives of ppvae add it; ``TraceMeanField_ELBO`` refuses it, or drops it
    silently where validation is off.
    """

    def rsample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        shape = self._extended_shape(sample_shape)
        gamma = torch._standard_gamma(self.concentration.expand(shape)).detach()
        gamma = gamma.clamp(min=torch.finfo(gamma.dtype).tiny)
        mean, deviation = self._standardisation()
        noise = ((gamma.log() - mean) / deviation).detach()
        return (noise * deviation + mean).exp() / self.rate

    def score_parts(self, x: torch.Tensor, *args: object, **kwargs: object) -> ScoreParts:
        """``ScoreParts(log_prob, log q(ε; α), log_prob)``, each of the batch shape."""
        mean, deviation = self._standardisation()
        noise = ((x.log() + self.rate.log() - mean) / deviation).detach()
        s = noise * deviation + mean
        score = self.concentration * s - s.exp() - torch.lgamma(self.concentration) + deviation.log()
        log_prob = self.log_prob(x, *args, **kwargs)
        return ScoreParts(log_prob, score, log_prob)

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> Independent:
        count = len(self.batch_shape) if reinterpreted_batch_ndims is None else reinterpreted_batch_ndims
        return _IndependentGRep(self, count)

    def _standardisation(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean ψ(α) and standard deviation √ψ₁(α) of log λ at rate one."""
        return torch.digamma(self.concentration), torch.polygamma(1, self.concentration).sqrt()
