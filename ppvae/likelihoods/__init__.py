"""p(x | z): a decoder network and an observation distribution; each maps z to a distribution over images."""

from ppvae.likelihoods.autoregressive import AutoregressiveLikelihood
from ppvae.likelihoods.bernoulli import BernoulliLikelihood
from ppvae.likelihoods.categorical import CategoricalLikelihood
from ppvae.likelihoods.counts import CountLikelihood
from ppvae.likelihoods.discretised_logistic import DiscretisedLogisticLikelihood
from ppvae.likelihoods.logistic_mixture import LogisticMixtureLikelihood
from ppvae.likelihoods.normal import NormalLikelihood
from ppvae.likelihoods.real import RealLikelihood

__all__ = [
    "AutoregressiveLikelihood",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "CountLikelihood",
    "DiscretisedLogisticLikelihood",
    "LogisticMixtureLikelihood",
    "NormalLikelihood",
    "RealLikelihood",
]
