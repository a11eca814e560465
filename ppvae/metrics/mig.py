"""The mutual information gap (Chen et al., 2018) from binned codes."""

import numpy as np
import xarray as xr

from ppvae.metrics.inputs import said_bins
from ppvae.metrics.mutual_information import BINNED_PRESETS, information
from ppvae.metrics.presets import chosen, scored

__all__ = ["mig_metric"]


def mig_metric(codes: xr.DataArray, factors: xr.Dataset, *, preset: str = "locatello", seed: int = 0) -> xr.Dataset:
    """MIG: how much more the best latent knows of a factor than the second best, as a share of the factor's entropy.

    mean_k (I(z_(1); v_k) − I(z_(2); v_k)) / H(v_k), with plug-in mutual information of codes in equal-width bins.

    ``codes``: (image, latent), the means of q(z|x), two latents or more. ``factors``: integer levels (image), or
    floats, which are put into bins that ``binned`` in the score's attributes tells; a variable a factor; where both
    name their images, the factors are looked up by name. Presets: ``locatello`` (20 bins, at most 10 000 images, drawn
    at random), ``quick`` (20, 2 000). Returns ``score`` (its attrs name preset, numbers, seed and chance), ``gap``
    (factor), ``entropy`` (factor) and ``mutual_information`` (factor, latent), both in nats.

    Bins cap it: a factor of more levels than bins cannot reach 1, and perfect codes of dSprites score 0.896 with 20
    bins, 0.988 with 40. It cannot see what else the best latent encodes, so one latent for two factors may score high.
    Invariant to each latent's scale, shift and sign, not to other monotone maps: an outlier squeezes the rest into
    few bins, and the last digits of a collapsed latent count as much as those of any other.
    Errors: :class:`~ppvae.errors.UserError` for codes or factors that do not fit each other, for one latent or fewer
    than two factors and for a factor with one level.
    Source: Chen et al., β-TCVAE, NeurIPS 2018, Eq. 6, on means instead of samples; numbers: Locatello et al., 2019.
    """
    numbers = chosen(preset, BINNED_PRESETS)
    found = information(codes, factors, numbers, seed)
    ranked = np.sort(found.table.values, axis=1)
    gap = (ranked[:, -1] - ranked[:, -2]) / found.entropy
    score = scored(
        gap.mean(),
        "mutual information gap",
        preset,
        numbers,
        used_images=found.images,
        seed=seed,
        chance=0.0,
        **said_bins(factors),
    )
    return xr.Dataset(
        {
            "score": score,
            "gap": ("factor", gap, {"long_name": "gap of this factor over its entropy", "units": "1"}),
            "entropy": ("factor", found.entropy, {"long_name": "entropy of the factor", "units": "nats"}),
            "mutual_information": found.table,
        }
    )
