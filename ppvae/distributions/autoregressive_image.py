"""Images whose pixels depend on the pixels before them, in raster order."""

from typing import Literal, get_args

import torch
from pyro.distributions import TorchDistribution
from torch import nn
from torch.distributions import constraints

from ppvae.described import shown
from ppvae.distributions.pixel_outputs import PixelOutput
from ppvae.errors import UserError, check_choice, check_whole

__all__ = ["AutoregressiveImage", "Way"]

ONE = torch.Size()
AT_ONCE = 1024  # images drawn at a time
SCORED_AT_ONCE = 16  # images a pass, on a CPU and where no gradient is wanted: three times as fast as hundreds

Way = Literal["cached", "fixed_point", "naive"]


class AutoregressiveImage(TorchDistribution):
    """p(x | context) = Π_i p(x_i | x_<i, context), pixels in raster order, the channels of a pixel in theirs.

    ``network(image, context)`` gives features of each pixel that see the pixels before it alone; ``output`` makes of
    them the distribution of the pixel. ``log_prob`` is one parallel pass. A sample is a function of noise, for which
    there are three ways with one and the same result: ``cached``, pixel by pixel where the network keeps what it has
    computed (``in_raster_order``); ``fixed_point``, parallel passes x ← draw(network(x), noise) until nothing changes,
    at most one a pixel; ``naive``, a pass a pixel, for tests. By default cached on a CPU, else by the fixed point.

    There is no ``mean``: a mean image would be a sum over all images. What stands for it are draws.

    ``dropout``: when scoring, each pixel is hidden from the pixels after it with this probability, drawn anew; still a
    density of the image, of a weakened network, for training. ``prefix``: see :meth:`given_prefix`.

    Shapes: context (..., maps, H, W) → batch shape (...), event shape (C, H, W).
    Errors: :class:`~ppvae.errors.UserError` for images or noise of another shape, or an unknown way.
    Sources: van den Oord, Kalchbrenner and Kavukcuoglu 2016 (PixelCNN), Eq. 1 and 2; Song et al. 2021, "Accelerating
    feedforward computation via parallel nonlinear equation solving", for the fixed point.
    """

    has_rsample = False
    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012

    def __init__(
        self,
        network: nn.Module,
        output: PixelOutput,
        context: torch.Tensor,
        *,
        dropout: float = 0.0,
        prefix: tuple[torch.Tensor, int] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.network, self.output, self.context = network, output, context
        self.dropout, self.prefix = dropout, prefix
        super().__init__(context.shape[:-3], torch.Size(network.image_shape), validate_args=validate_args)

    def __repr__(self) -> str:
        parts = {"network": type(self.network), "output": type(self.output), "context": self.context}
        settings = {"dropout": self.dropout, "prefix": None if self.prefix is None else self.prefix[1]}
        return (
            f"{type(self).__name__}({', '.join(f'{name}={shown(part)}' for name, part in (parts | settings).items())})"
        )

    @property
    def support(self) -> constraints.Constraint:
        return self.output.support

    def expand(self, batch_shape: torch.Size, _instance: "AutoregressiveImage | None" = None) -> "AutoregressiveImage":
        new = self._get_checked_instance(AutoregressiveImage, _instance)
        new.network, new.output, new.dropout = self.network, self.output, self.dropout
        new.context = self.context.expand(*batch_shape, *self.context.shape[-3:])
        new.prefix = self.prefix
        super(AutoregressiveImage, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        self._check_shape("images", value, self.event_shape)
        if self._validate_args:
            self._validate_sample(value)
        if self.prefix is None:
            return self._conditionals(value, self.dropout).log_prob(value)
        image, start = self.prefix
        kept = self._before(start)
        same = ((value == image) | ~kept).flatten(-3).all(-1)
        return self.log_prob_by_pixel(value).masked_fill(kept, 0.0).sum((-2, -1)).where(same, -torch.inf)

    def log_prob_by_pixel(self, value: torch.Tensor) -> torch.Tensor:
        """log p(x_i | x_<i, context) of each pixel with all its channels, (..., H, W); their sum is ``log_prob``."""
        self._check_shape("images", value, self.event_shape)
        features, value = self._features(value), value.expand(*self._lead(value), *self.event_shape)
        each, pixels = (maps.movedim(-3, -1)[..., None, None] for maps in (features, value))
        return self.output.conditionals(each, pixels).log_prob(pixels)

    def given(self, value: torch.Tensor) -> TorchDistribution:
        """The conditionals p(x_i | x_<i = value_<i, context) of all pixels: a distribution that factorises over them.

        Its density at ``value`` itself is that of the image, and KL divergences from it are exact pixel by pixel.
        """
        self._check_shape("images", value, self.event_shape)
        return self._conditionals(value)

    def given_prefix(self, image: torch.Tensor, pixels: int) -> "AutoregressiveImage":
        """The images that begin with the first ``pixels`` pixels of ``image`` in raster order: in-painting.

        Samples keep them and draw the rest; ``log_prob`` scores the rest, −∞ for an image that begins otherwise. Exact
        at this context; a latent that the context comes of has to be inferred from the given pixels as well.
        """
        self._check_shape("images", image, self.event_shape)
        check_whole("pixels", pixels, 0)
        count = self.event_shape[-2] * self.event_shape[-1]
        if pixels > count:
            raise UserError(f"pixels={pixels}: the images have {count}; give at most these")
        shape = torch.broadcast_shapes(self.batch_shape, image.shape[:-3])
        new = self.expand(shape)
        new.prefix = (image, int(pixels))
        return new

    def one_step_mean(self, value: torch.Tensor) -> torch.Tensor:
        """E[x_i | x_<i = value_<i, context] of each pixel: a prediction from the true past, no reconstruction.

        It looks excellent where the context says nothing at all.
        """
        return self.given(value).mean

    def noise(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        """The noise that makes a sample: (*sample_shape, *batch_shape, noises, H, W)."""
        shape = torch.Size((*sample_shape, *self.batch_shape, self.output.noises, *self.event_shape[1:]))
        return self.output.noise(shape, self.context)

    def sample(
        self,
        sample_shape: torch.Size = ONE,
        *,
        noise: torch.Tensor | None = None,
        way: Way | None = None,
        at_once: int = AT_ONCE,
    ) -> torch.Tensor:
        """Images (*sample_shape, *batch_shape, C, H, W); of given ``noise`` always the same ones.

        ``way``: how, see the class; ``at_once``: images drawn at a time, the bound on memory.
        """
        check_whole("at_once", at_once, 1)
        cached = hasattr(self.network, "in_raster_order")
        if way is None:
            way = "cached" if cached and self.context.device.type == "cpu" else "fixed_point"
        check_choice("way", way, get_args(Way))
        if way == "cached" and not cached:
            raise UserError(f"way='cached': {type(self.network).__name__} keeps nothing; use fixed_point")
        with torch.no_grad():
            if noise is None:
                noise = self.noise(sample_shape)
            self._check_shape("noise", noise, (self.output.noises, *self.event_shape[1:]))
            lead = torch.broadcast_shapes(torch.Size((*sample_shape, *self.batch_shape)), noise.shape[:-3])
            start = 0
            image = self.context.new_zeros(()).expand(*lead, *self.event_shape)
            if self.prefix is not None:
                given, start = self.prefix
                image = torch.where(self._before(start), given.to(image.dtype), image)
            parts = (_flat(tensor, lead).split(at_once) for tensor in (image, self.context, noise))
            drawn = [WAYS[way](self, *some, start) for some in zip(*parts, strict=True)]
        return torch.cat(drawn).reshape(*lead, *self.event_shape)

    def _conditionals(self, value: torch.Tensor, dropout: float = 0.0) -> TorchDistribution:
        return self.output.conditionals(self._features(value, dropout), value)

    def _features(self, value: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        lead = self._lead(value)
        images, context = _flat(value.to(self.context.dtype), lead), _flat(self.context, lead)
        seen = None
        if dropout:
            seen = (torch.rand_like(images[:, :1]) >= dropout).to(images.dtype)
        features = self._passed(images, context, seen)
        return features.reshape(*lead, *features.shape[1:])

    def _passed(self, images: torch.Tensor, context: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        if torch.is_grad_enabled() or images.device.type != "cpu" or len(images) <= SCORED_AT_ONCE:
            return self.network(images, context, seen)
        parts = (images, context) if seen is None else (images, context, seen)
        few = zip(*(tensor.split(SCORED_AT_ONCE) for tensor in parts), strict=True)
        return torch.cat([self.network(*some) for some in few])

    def _lead(self, value: torch.Tensor) -> torch.Size:
        return torch.broadcast_shapes(value.shape[:-3], self.batch_shape)

    def _before(self, pixels: int) -> torch.Tensor:
        """Which pixels (H, W) are among the first so many."""
        rows, columns = self.event_shape[1:]
        return (torch.arange(rows * columns, device=self.context.device) < pixels).reshape(rows, columns)

    def _check_shape(self, what: str, tensor: torch.Tensor, expected: tuple[int, ...]) -> None:
        if tensor.shape[-3:] != torch.Size(expected):
            got = tuple(tensor.shape[-3:])
            raise UserError(f"{what} are {got}; the network is of {what} {tuple(expected)}: give these")


def _cached(
    image: AutoregressiveImage, values: torch.Tensor, context: torch.Tensor, noise: torch.Tensor, start: int
) -> torch.Tensor:
    """Pixel by pixel, with what the network keeps."""

    by_pixel = noise.permute(2, 3, 1, 0)[:, :, None, :, None].contiguous()  # (H, W, 1, noises, 1, n)

    def draw(features: torch.Tensor, row: int, column: int) -> torch.Tensor:
        """A pixel of n images as one image of 1 × n pixels, which convolutions are quicker with."""
        return image.output.drawn(features.T[None, :, None], by_pixel[row, column])[0, :, 0].T

    return image.network.in_raster_order(context, draw, values, start)


def _fixed_point(
    image: AutoregressiveImage, values: torch.Tensor, context: torch.Tensor, noise: torch.Tensor, start: int
) -> torch.Tensor:
    """All pixels at once, again and again: pass i sets at least the first i right. Images that stay are done."""
    values, given = values.clone(), image._before(start)
    moving = torch.arange(len(values), device=values.device)
    for _ in range(values.shape[-2] * values.shape[-1] + 1):
        drawn = image.output.drawn(image.network(values[moving], context[moving]), noise[moving])
        drawn = torch.where(given, values[moving], drawn)
        moved = (drawn != values[moving]).flatten(1).any(1)
        values[moving] = drawn
        moving = moving[moved]
        if not len(moving):
            break
    return values


def _naive(
    image: AutoregressiveImage, values: torch.Tensor, context: torch.Tensor, noise: torch.Tensor, start: int
) -> torch.Tensor:
    """A pass a pixel."""
    values = values.clone()
    columns = values.shape[-1]
    for pixel in range(start, values.shape[-2] * columns):
        row, column = divmod(pixel, columns)
        drawn = image.output.drawn(image.network(values, context), noise)
        values[:, :, row, column] = drawn[:, :, row, column]
    return values


WAYS = {"cached": _cached, "fixed_point": _fixed_point, "naive": _naive}


def _flat(tensor: torch.Tensor, lead: torch.Size) -> torch.Tensor:
    """(..., C, H, W) broadcast to these leading dims, as (n, C, H, W)."""
    return tensor.expand(*lead, *tensor.shape[-3:]).reshape(-1, *tensor.shape[-3:])
