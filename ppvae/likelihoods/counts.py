"""Counts, some of them missing."""

from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import PartlyObserved, ZeroInflatedNegativeBinomial, ZeroInflatedPoisson
from ppvae.errors import UserError, check_choice
from ppvae.likelihoods.maps import check_maps, split_maps

__all__ = ["CountLikelihood", "Counts"]

Counts = Literal["poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"]

MOST = 30.0  # of a log-rate: beyond it the density is no longer finite in float32


class CountLikelihood(Described, nn.Module):
    """p(x | z) of whole numbers, independent over entries; NaN is a missing one.

    The decoder gives log μ, the mean's, over ``log_start`` of each column, which is zero until :meth:`start_at`.
    ``poisson``: the variance is μ. ``negative_binomial``: it is μ + μ²/r, with r learned for each column.
    ``zero_inflated_…``: with probability π, whose logit the decoder gives as well, the entry is zero for another
    reason, so that its mean is (1 − π)·μ.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W); the decoder gives
    (..., C, H, W), zero-inflated (..., 2·C, H, W), log-means first.
    Errors: :class:`~ppvae.errors.UserError` for an unknown distribution, or a decoder with another number of maps or
    without an ``image_shape``.
    Source: Lopez et al. 2018 (scVI), whose size of each row is here the latents' to tell.
    """

    kinds = frozenset({"counts", "binary"})
    distortion_floor = 0.0
    partly_observed = True

    def __init__(self, decoder: nn.Module, counts: Counts = "negative_binomial") -> None:
        super().__init__()
        check_choice("counts", counts, get_args(Counts))
        if not hasattr(decoder, "image_shape"):
            raise UserError(f"decoder {type(decoder).__name__} has no image_shape; set it to (channels, rows, columns)")
        check_maps(decoder, lambda channels: self.decoder_maps(channels, counts=counts))
        self.decoder, self.counts = decoder, counts
        self.register_buffer("log_start", torch.zeros(decoder.image_shape))
        if counts.endswith("negative_binomial"):
            self.log_total = nn.Parameter(torch.zeros(decoder.image_shape))

    @staticmethod
    def decoder_maps(channels: int, counts: Counts = "negative_binomial", **_settings: object) -> int:
        """Maps that the decoder must give: the log-mean of each channel, zero-inflated the gate's logit, too."""
        return 2 * channels if counts.startswith("zero_inflated") else channels

    def start_at(self, rows: torch.Tensor) -> None:
        """Let a decoder that gives zeros draw each column's mean: it then learns what differs between rows alone.

        rows (row, C, H, W), NaN where missing; half a count is added to each column. Without it the first epochs go to
        the means, codes that say nothing meanwhile cost least, and the latents enter late.
        """
        there = (~rows.isnan()).sum(0).clamp(min=1)
        mean = (rows.nansum(0) + 0.5) / there
        self.log_start.copy_((2 * mean if self._gated else mean).log())  # a gate of logit zero halves it

    @property
    def _gated(self) -> bool:
        return self.counts.startswith("zero_inflated")

    def forward(self, z: torch.Tensor) -> PartlyObserved:
        maps, gated = self.decoder(z), self._gated
        log_mean, gate = split_maps(maps, 2).unbind(-4) if gated else (maps, None)
        log_mean = (log_mean + self.log_start).clamp(max=MOST)
        if self.counts.endswith("poisson"):
            rate = log_mean.exp()
            counts = ZeroInflatedPoisson(rate, gate_logits=gate) if gated else dist.Poisson(rate)
            return PartlyObserved(counts, 3)
        total, logits = self.log_total.exp().expand_as(log_mean), log_mean - self.log_total
        if gated:
            return PartlyObserved(ZeroInflatedNegativeBinomial(total, logits=logits, gate_logits=gate), 3)
        return PartlyObserved(dist.NegativeBinomial(total, logits=logits), 3)
