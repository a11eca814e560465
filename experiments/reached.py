"""What models of a data set reach in the diagnostics, as measured in ``experiments/results``."""

from ppvae.likelihoods import AutoregressiveLikelihood

from .assemble import Parts

__all__ = ["reached"]

PIXELS_ALONE = {  # binarised MNIST, decoders of independent pixels
    "tightness": "6.9 nats mean field, 7.1 IAF, 4.0 hierarchy (prior_guide_grid, nvae_mnist)",
    "effective draws": "3 to 5 % of 100 draws (nvae_mnist)",
    "information": "6.9 nats, its cap (autoregressive_mnist)",
}
FROM_THE_PAST = {  # the same, decoders that see pixels before
    "tightness": "0.8 to 1.6 nats (autoregressive_mnist)",
    "effective draws": "13 to 34 % of 128 draws (autoregressive_mnist)",
    "information": "4.7 to 6.6 nats (autoregressive_mnist)",
}


def reached(parts: Parts) -> dict[str, str]:
    """By test, for data of which anything was measured."""
    words = parts.data.description.lower()
    if "mnist" not in words or "binar" not in words or "fashion" in words or "emnist" in words:
        return {}
    seen = isinstance(getattr(parts.model, "likelihood", None), AutoregressiveLikelihood)
    return FROM_THE_PAST if seen else PIXELS_ALONE
