"""p(x | z): a decoder network and an observation distribution; each maps z to a distribution over images."""

from ppvae.likelihoods.bernoulli import BernoulliLikelihood
from ppvae.likelihoods.normal import NormalLikelihood

__all__ = ["BernoulliLikelihood", "NormalLikelihood"]
