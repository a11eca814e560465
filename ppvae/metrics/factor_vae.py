"""The FactorVAE metric (Kim and Mnih, 2018): the latent that varies least tells which factor stands still."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr

from ppvae.metrics.inputs import code_values, latent_coordinate, matched_levels, said_bins
from ppvae.metrics.level_pools import LevelPool, pool_levels
from ppvae.metrics.presets import chosen, scored

__all__ = ["FACTOR_VAE_PRESETS", "FactorVAEPreset", "factor_vae_metric"]

GROUPS_PER_CHUNK = 500  # 500 groups of 64 images of 15 latents: 4 MB


@dataclass(frozen=True)
class FactorVAEPreset:
    """The numbers of a FactorVAE metric: images a group, votes to train and to evaluate, least spread of a latent."""

    group: int
    train: int
    evaluate: int
    least_spread: float


FACTOR_VAE_PRESETS: Mapping[str, FactorVAEPreset] = MappingProxyType(
    {
        "locatello": FactorVAEPreset(group=64, train=10_000, evaluate=5_000, least_spread=0.05),
        "quick": FactorVAEPreset(group=64, train=1_000, evaluate=1_000, least_spread=0.05),
    }
)


def factor_vae_metric(
    codes: xr.DataArray, factors: xr.Dataset, *, preset: str = "locatello", seed: int = 0
) -> xr.Dataset:
    """Accuracy with which the latent that varies least in a group of images tells the factor they share.

    A vote: choose a factor y; draw a group of images alike in y; the vote is (j, y), j = argmin_j Var_j / V_j, the
    variance in the group over that of all images. Training votes give each latent j the factor it was cast for most
    often; the score is the share of fresh votes for their latent's factor: 1 / F by chance. Latents whose standard
    deviation is below ``least_spread`` stand outside; the score is 0 where all do. Groups come from the given images,
    with replacement from the level of a random one; an image alone at its level is passed over.

    ``codes``: (image, latent), the means of q(z|x). ``factors``: integer levels (image), or floats, which are put into
    bins that ``binned`` in the score's attributes tells; a variable a factor; where both name their images, the factors
    are looked up by name. Presets: ``locatello`` (groups of 64, 10 000 votes to train, 5 000 to evaluate, spread 0.05),
    ``quick`` (64, 1 000, 1 000, 0.05). Returns ``score`` (its attrs name preset, numbers, chance and binomial standard
    error), ``accuracy`` (factor), ``votes`` (factor, latent) of training and ``active`` (latent).

    The score cannot see a factor spread over several latents, as each of them may win, nor what else a latent
    encodes as long as one factor dominates; one missing of five costs less than its share (0.85 on dSprites). Scale
    matters only to latents near the threshold. Few images raise it: on noise, 15 latents and 5 factors of 3 to 40
    levels, it came to 0.29 with 500 images, 0.24 with 2 000, 0.216 with 5 000 and 0.207 with 10 000 (chance 0.20).
    Errors: :class:`~ppvae.errors.UserError` for codes or factors that do not fit each other, for fewer than two
    factors, for a factor with one level and for too few images to group.
    Source: Kim and Mnih, Disentangling by Factorising, ICML 2018, Section 3; numbers: Locatello et al., ICML 2019.
    """
    numbers = chosen(preset, FACTOR_VAE_PRESETS)
    values = code_values(codes).astype(np.float64)
    levels = matched_levels(codes, factors)
    pools = [pool_levels(name, array) for name, array in levels.items()]
    rng = np.random.default_rng(seed)
    spread = values.std(0, ddof=1)
    active = np.flatnonzero((spread >= numbers.least_spread) & (spread > 0))
    scaled = values[:, active] / spread[active]
    votes = _votes(scaled, pools, numbers.group, numbers.train, rng)
    fresh = _votes(scaled, pools, numbers.group, numbers.evaluate, rng)
    right = votes.argmax(0) == np.arange(len(pools))[:, None]
    score = float((fresh * right).sum() / numbers.evaluate)
    described = scored(
        score,
        "FactorVAE metric",
        preset,
        numbers,
        seed=seed,
        chance=1 / len(pools),
        **said_bins(factors),
        standard_error=float(np.sqrt(score * (1 - score) / numbers.evaluate)),
    )
    return _result(described, fresh * right, fresh, votes, active, levels, codes)


def _votes(codes: np.ndarray, pools: list[LevelPool], group: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Votes counted (factor, latent); none where there is no latent."""
    shared = np.bincount(rng.integers(0, len(pools), size), minlength=len(pools))
    votes = np.zeros((len(pools), codes.shape[1]), dtype=np.int64)
    if codes.shape[1] == 0:
        return votes
    for factor, (pool, total) in enumerate(zip(pools, shared, strict=True)):
        for start in range(0, total, GROUPS_PER_CHUNK):
            images = pool.groups(min(GROUPS_PER_CHUNK, total - start), group, rng)
            least = codes[images].var(1).argmin(1)
            votes[factor] += np.bincount(least, minlength=codes.shape[1])
    return votes


def _result(
    score: xr.DataArray,
    right: np.ndarray,
    fresh: np.ndarray,
    votes: np.ndarray,
    active: np.ndarray,
    levels: dict[str, np.ndarray],
    codes: xr.DataArray,
) -> xr.Dataset:
    table = np.zeros((len(levels), codes.sizes["latent"]), dtype=np.int64)
    table[:, active] = votes
    cast = fresh.sum(1)
    accuracy = np.divide(right.sum(1), cast, out=np.zeros(len(levels)), where=cast > 0)
    used = np.isin(np.arange(codes.sizes["latent"]), active)
    return xr.Dataset(
        {
            "score": score,
            "accuracy": ("factor", accuracy, {"long_name": "accuracy where this factor is shared", "units": "1"}),
            "votes": (("factor", "latent"), table, {"long_name": "training votes", "units": "votes"}),
            "active": ("latent", used, {"long_name": "latent takes part", "units": "boolean"}),
        },
        coords={"factor": list(levels)} | latent_coordinate(codes),
    )
