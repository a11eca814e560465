"""Why tests of a pair failed: one cause for those that fail together, and one advice, from the parts in use."""

from typing import NamedTuple

import xarray as xr

from guides import FullCovarianceNormal, MeanFieldNormal
from ppvae.diagnostics.contents import noun_in
from ppvae.likelihoods import AutoregressiveLikelihood, BernoulliLikelihood, NormalLikelihood
from ppvae.nouns import Noun
from ppvae.plots.labels import number
from ppvae.priors import NormalPrior

from .assemble import Parts
from .evaluation import Evaluation
from .findings import reconstruction_error

__all__ = ["Cause", "causes", "summed_up"]

FAR = 2.0  # σ so many times below the error that remains
CODE = ("active latents", "information")  # tests that a σ which is too small does not fail
GUIDE = ("tightness", "pareto k", "effective draws", "calibration", "bias", "width")
PRIOR = ("aggregate", "prior predictive")
LIKELIHOOD = ("posterior predictive",)


class Cause(NamedTuple):
    """What stands behind tests that failed, in a few words and in a sentence, and what to try."""

    name: str
    tests: tuple[str, ...]
    said: str
    advice: str

    def sentence(self) -> str:
        """What it is and what to try."""
        return f"{self.name[0].upper()}{self.name[1:]}: {self.said}. {self.advice}"


def causes(parts: Parts, evaluation: Evaluation, diagnosed: xr.Dataset) -> list[Cause]:
    """The causes of all that failed, each test under one: first a σ too small, which may fail all but the code's tests.

    Draws of the model that look wrong are the prior's fault where its codes are off, the likelihood's where redrawn
    images are.
    """
    failed = [str(name) for name in diagnosed["test"].values[(diagnosed["verdict"] == "fail").values]]
    scale = _scale(parts, evaluation)
    found = []
    if scale and (tests := tuple(name for name in failed if name not in CODE)):
        found.append(Cause("a scale σ too small", tests, *scale))
        failed = [name for name in failed if name in CODE]
    if "prior predictive" in failed and "aggregate" not in failed and "posterior predictive" in failed:
        groups = {"code": CODE, "guide": GUIDE, "prior": (), "likelihood": (*LIKELIHOOD, "prior predictive")}
    else:
        groups = {"code": CODE, "guide": GUIDE, "prior": PRIOR, "likelihood": LIKELIHOOD}
    told = {"code": _of_code, "guide": _of_guide, "prior": _of_prior, "likelihood": _of_likelihood}
    for name, group in groups.items():
        tests = tuple(test for test in failed if test in group)
        if tests:
            found.append(Cause(f"the {name}", tests, *told[name](parts, noun_in(evaluation.tree))))
    return sorted(found, key=lambda cause: cause.name != "the code")


def summed_up(diagnosed: xr.Dataset) -> str:
    """How many tests failed, in a sentence; none where none did."""
    failed = int((diagnosed["verdict"] == "fail").sum())
    run = int((diagnosed["verdict"] != "not run").sum())
    return f"Of {run} tests of the guide and the model {failed} failed" if failed else ""


def _scale(parts: Parts, evaluation: Evaluation) -> tuple[str, str] | None:
    """A σ far below the error that remains: a posterior narrower than the decoder is right, and no guide's to hit."""
    likelihood, error = getattr(parts.model, "likelihood", None), reconstruction_error(evaluation)
    if not isinstance(likelihood, NormalLikelihood) or error is None:
        return None
    scale = float(likelihood.log_scale.detach().exp())
    if error < FAR * scale:
        return None
    noun = noun_in(evaluation.tree)
    learn = "" if likelihood.scale_mode != "fixed" else "learn σ (likelihood.scale_mode=learned), "
    advice = f"{learn}weight the rate by β = {number((error / scale) ** 2, 2)}, or train longer"
    return (
        f"σ = {scale:.2g} of {noun.a_pixel} is {error / scale:.1f} times below the error that remains, {error:.2g}, so "
        f"that the model is surer of every {noun.pixel} than its decoder is right",
        f"{advice[0].upper()}{advice[1:]}, before anything is said of the guide.",
    )


def _of_code(parts: Parts, _noun: Noun) -> tuple[str, str]:
    used = type(parts.objective).__name__
    cures = {
        "Annealed": "anneal the rate's weight (annealing=linear)",
        "FreeBits": "leave some of the rate free of cost (objective=free_bits)",
    }
    tried = [words for name, words in cures.items() if name not in used]
    if isinstance(getattr(parts.model, "likelihood", None), AutoregressiveLikelihood):
        tried.append("let the decoder see less of its past (a smaller window, or likelihood.dropout)")
    tried.append("train for longer")
    advice = " or ".join([", ".join(tried[:-1]), tried[-1]])
    return "the decoder makes next to nothing of what the latents say", f"{advice[0].upper()}{advice[1:]}."


def _of_guide(parts: Parts, noun: Noun) -> tuple[str, str]:
    said = f"{type(parts.guide).__name__} is not the posterior of this model"
    longer = f"train for longer or on more {noun.many}, or widen the encoder"
    if isinstance(parts.guide, MeanFieldNormal):
        return said, f"A richer guide is at hand (guide=full_covariance or guide=iaf); else {longer}."
    if isinstance(parts.guide, FullCovarianceNormal):
        return said, f"A guide that is not normal is at hand (guide=iaf); else {longer}."
    return said, f"{longer[0].upper()}{longer[1:]}."


def _of_prior(parts: Parts, _noun: Noun) -> tuple[str, str]:
    prior = getattr(parts.model, "prior", None)
    said = f"the codes of the data are not where {type(prior).__name__} draws its own"
    if isinstance(prior, NormalPrior):
        return said, "A prior that is fitted to the codes is at hand (prior=vamp, mixture or autoregressive_flow)."
    return (
        said,
        "Train for longer, or weight the rate more (objective.beta), so that codes lie under the prior.",
    )


def _of_likelihood(parts: Parts, noun: Noun) -> tuple[str, str]:
    likelihood = getattr(parts.model, "likelihood", None)
    said = f"{type(likelihood).__name__} does not redraw {noun.many} with the statistics that they have"
    if isinstance(likelihood, NormalLikelihood) and likelihood.scale_mode == "fixed":
        return said, "Learn its σ (likelihood.scale_mode=learned), or train the decoder for longer."
    if isinstance(likelihood, BernoulliLikelihood | NormalLikelihood):
        return (
            said,
            f"Its noise is of each {noun.pixel} alone: train for longer, or choose likelihood=autoregressive.",
        )
    return said, "Train the decoder for longer, or choose another likelihood."
