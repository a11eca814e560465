"""Whether the decoder does it alone: the verdict on what codes say and what the decoder makes of it."""

import math
from dataclasses import dataclass

import xarray as xr

from ppvae.diagnostics.contents import group_of, variables_of
from ppvae.diagnostics.findings import CONVENTION, Finding, Verdict, fall_short
from ppvae.errors import UserError
from ppvae.nouns import IMAGE, Noun

__all__ = ["Judged", "information", "judged"]

COLLAPSED, WEAK = 0.5, 3.0  # nats of a code of many latents
OF_EACH = {COLLAPSED: 0.1, WEAK: 0.3}  # nats a latent of a small code
WORDS: dict[Verdict, str] = {"fail": "collapsed", "warn": "weak", "pass": "used"}


@dataclass(frozen=True, kw_only=True)
class Judged(Finding):
    """A finding with its word: collapsed, weak or used."""

    word: str


def judged(found: xr.Dataset, noun: Noun = IMAGE) -> Judged:
    """The verdict on what :func:`~ppvae.information_split` found, by the lesser of I(z; x) and the gain.

    Both are needed: a guide may write what the decoder does not read (I large, gain none), and nothing is read that was
    not written. ``collapsed`` below 0.5 nats: one clear answer to one yes-or-no question about an image is ln 2 = 0.69,
    and a code that gives it with noise still 0.57. ``weak`` below 3 nats, which tell 20 kinds of images apart, ``used``
    from there on. Of codes of few latents less is expected, 0.1 and 0.3 nats a latent where that is less, and of few
    images no more than log N − 1. Neither the rate nor active units are asked: free bits hold up the one, and the other
    pass a collapsed pair.
    """
    numbers = {name: float(found[name]) for name in ("mutual_information", "gain", "rate", "active_units", "latents")}
    told, gain = numbers["mutual_information"], numbers["gain"]
    limit, threshold = (min(most, each * numbers["latents"]) for most, each in OF_EACH.items())
    threshold = min(threshold, max(limit, found.attrs["cap"] - 1))
    used = min(told, gain) if not math.isnan(gain) else gain
    verdict = fall_short(used, threshold, limit)
    word = WORDS[verdict]
    what = (
        f"{word}: z carries {told:.2f} ± {float(found['mutual_information_error']):.2f} nats about the {noun.one} (at "
        f"most log N = {found.attrs['cap']:.2f}) at a rate of {numbers['rate']:.2f}, and the decoder gains {gain:.2f} "
        f"± {float(found['gain_error']):.2f} nats of log likelihood by it: {_meaning(word, told, gain, limit, noun)}; "
        f"active units: {numbers['active_units']:.0f} of {numbers['latents']:.0f}"
    )
    if told > found.attrs["cap"] - 1:
        what += f"; I(z; x) is near its cap: more {noun.many} would show more"
    return Judged(
        statistic=used,
        threshold=threshold,
        limit=limit,
        verdict=verdict,
        basis=CONVENTION,
        what=what,
        advice=_advice(word, told, limit, noun),
        word=word,
    )


def _meaning(word: str, told: float, gain: float, limit: float, noun: Noun) -> str:
    if word != "collapsed":
        return f"the decoder explains most of the {noun.one} alone" if word == "weak" else "the decoder listens"
    if told < limit:
        alone = "the decoder does it alone"
        return alone if gain > -limit else "the guide writes nothing of what the decoder would read"
    return "the decoder does it alone and ignores what the guide writes"


def _advice(word: str, told: float, limit: float, noun: Noun) -> str:
    if word == "used":
        return ""
    weaker = "a smaller decoder" if noun != IMAGE else "a smaller window, or pixel dropout (likelihood.dropout)"
    if word == "collapsed" and told >= limit:
        return f"what holds up the rate alone does not help: weaken the decoder ({weaker}), or anneal β"
    return f"anneal β, use free bits or a capacity, or weaken the decoder ({weaker})"


def information(tree: xr.DataTree, level: float, noun: Noun) -> Finding:
    """The verdict on the group ``information``."""
    del level
    names = ("mutual_information", "mutual_information_error", "gain", "gain_error", "rate", "active_units", "latents")
    found = group_of(tree, "information", "make it with ppvae.examine")
    variables_of(found, names, "information")
    if math.isnan(float(found["mutual_information"])):
        raise UserError("I(z; x) is not a number: the guide's densities of these codes are not finite")
    return judged(found, noun)
