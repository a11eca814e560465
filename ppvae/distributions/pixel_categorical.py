"""A probability of its own for each of 256 grey levels."""

import torch
from pyro.distributions import Categorical, TorchDistribution
from torch.distributions import constraints

from ppvae.distributions.eight_bit import LEVELS, eight_bit, nearest_level

__all__ = ["PixelCategorical"]

ONE = torch.Size()


class PixelCategorical(TorchDistribution):
    """P(x = k/255) = softmax(logits)_k over the 256 levels of each 8-bit sub-pixel, independent; an image at a time.

    Shapes: logits (..., 256, C, H, W), the layout in which a decoder draws them and their normalisation is fastest →
    batch shape (...), event shape (C, H, W). Values are floats in [0, 1].
    Source: van den Oord, Kalchbrenner and Kavukcuoglu 2016, Sec. 2.2.
    """

    arg_constraints = {"logits": constraints.independent(constraints.real, 4)}  # noqa: RUF012
    support = constraints.independent(eight_bit, 3)
    has_rsample = False

    def __init__(self, logits: torch.Tensor, *, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-4], logits.shape[-3:], validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: "PixelCategorical | None" = None) -> "PixelCategorical":
        new = self._get_checked_instance(PixelCategorical, _instance)
        new.logits = self.logits.expand(*batch_shape, *self.logits.shape[-4:])
        super(PixelCategorical, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        level, log_p = nearest_level(value).long().unsqueeze(-4), self.logits.log_softmax(-4)
        shape = torch.broadcast_shapes(level.shape[:-4], self.batch_shape)
        log_p, level = (tensor.expand(*shape, *tensor.shape[-4:]) for tensor in (log_p, level))
        return log_p.gather(-4, level).sum((-4, -3, -2, -1))

    def sample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        with torch.no_grad():
            levels = Categorical(logits=self.logits.movedim(-4, -1), validate_args=False).sample(sample_shape)
            return levels.to(self.logits.dtype) / (LEVELS - 1)

    @property
    def mean(self) -> torch.Tensor:
        return (self.logits.softmax(-4) * self._values).sum(-4)

    @property
    def variance(self) -> torch.Tensor:
        return (self.logits.softmax(-4) * (self._values - self.mean.unsqueeze(-4)).square()).sum(-4)

    @property
    def _values(self) -> torch.Tensor:
        values = torch.arange(LEVELS, dtype=self.logits.dtype, device=self.logits.device) / (LEVELS - 1)
        return values[:, None, None, None]
