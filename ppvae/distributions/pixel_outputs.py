"""What becomes of a pixel's features: the distribution of its channels, each given those before it."""

from typing import Any

import torch
from pyro.distributions import Bernoulli, Normal, TorchDistribution
from torch import nn
from torch.distributions import constraints
from torch.nn.functional import elu, softplus

from ppvae.distributions.eight_bit import LEVELS, eight_bit
from ppvae.distributions.logistic_mixture import DiscretisedLogisticMixture
from ppvae.distributions.pixel_categorical import PixelCategorical
from ppvae.errors import check_choice, check_whole

__all__ = ["OUTPUTS", "PixelOutput", "pixel_output"]

LEAST_SCALE = 1e-3  # of a normal pixel
UNIT = 0.5413248546  # softplus of it is one


class PixelOutput(nn.Module):
    """p(pixel | features): a hidden layer, and a distribution over the pixel's channels in order.

    Shapes: features (..., ``features``, H, W), value (..., C, H, W), noise (..., ``noises``, H, W).
    """

    kinds: frozenset[str]
    support: constraints.Constraint

    def __init__(self, noises: int) -> None:
        super().__init__()
        self.noises = noises  # numbers a pixel that make a draw of it

    def conditionals(self, features: torch.Tensor, value: torch.Tensor) -> TorchDistribution:
        """Independent over pixels, event shape (C, H, W); of ``value`` each channel sees those before it alone."""
        raise NotImplementedError

    def drawn(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The draw that this noise makes, channel after channel."""
        raise NotImplementedError

    def noise(self, shape: torch.Size, like: torch.Tensor) -> torch.Tensor:
        """What :meth:`drawn` takes: uniform in [0, 1)."""
        return torch.rand(shape, dtype=like.dtype, device=like.device)


class BernoulliPixels(PixelOutput):
    """Zeros and ones, the logit of each channel."""

    kinds = frozenset({"binary"})
    support = constraints.independent(constraints.boolean, 3)

    def __init__(self, features: int, channels: int, **_settings: Any) -> None:
        super().__init__(channels)
        self.chain = _Chain(features, channels, 1)

    def conditionals(self, features: torch.Tensor, value: torch.Tensor) -> TorchDistribution:
        return Bernoulli(logits=self.chain(features, value).squeeze(-4)).to_event(3)

    def drawn(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.chain.drawn(features, noise, lambda logits, u: (u < logits.squeeze(-4).sigmoid()).to(u.dtype))


class CategoricalPixels(PixelOutput):
    """256 levels, each with a probability of its own."""

    kinds = frozenset({"binary", "8-bit"})
    support = constraints.independent(eight_bit, 3)

    def __init__(self, features: int, channels: int, **_settings: Any) -> None:
        super().__init__(channels)
        self.chain = _Chain(features, channels, LEVELS)

    def conditionals(self, features: torch.Tensor, value: torch.Tensor) -> TorchDistribution:
        return PixelCategorical(self.chain(features, value))

    def drawn(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        def level(logits: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
            below = logits.softmax(-4).cumsum(-4)[..., :-1, :, :, :] <= u.unsqueeze(-4)
            return below.sum(-4).to(u.dtype) / (LEVELS - 1)

        return self.chain.drawn(features, noise, level)


class LogisticMixturePixels(PixelOutput):
    """256 levels by PixelCNN++'s mixture of discretised logistics, one component for all channels of a pixel."""

    kinds = frozenset({"binary", "8-bit"})
    support = constraints.independent(eight_bit, 3)

    def __init__(self, features: int, channels: int, components: int = 10, **_settings: Any) -> None:
        super().__init__(channels + 1)
        check_whole("components", components, 1)
        self.components = components
        self.head = _Head(features, components * (channels + 1) * (channels + 2) // 2, features)

    def conditionals(self, features: torch.Tensor, value: torch.Tensor) -> DiscretisedLogisticMixture:
        del value  # the mixture couples the channels itself
        return DiscretisedLogisticMixture.from_maps(self.head(features).unflatten(-3, (self.components, -1)))

    def drawn(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.conditionals(features, noise).drawn(noise)


class NormalPixels(PixelOutput):
    """Real numbers, mean and scale of each channel; channels of one pixel are independent given the pixels before."""

    kinds = frozenset({"binary", "8-bit", "real"})
    support = constraints.independent(constraints.real, 3)

    def __init__(self, features: int, channels: int, **_settings: Any) -> None:
        super().__init__(channels)
        self.head = _Head(features, 2 * channels, features)

    def conditionals(self, features: torch.Tensor, value: torch.Tensor) -> TorchDistribution:
        del value
        loc, scale = self.head(features).chunk(2, -3)
        return Normal(loc, softplus(scale + UNIT) + LEAST_SCALE).to_event(3)

    def drawn(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        normal = self.conditionals(features, noise).base_dist
        return normal.loc + normal.scale * noise

    def noise(self, shape: torch.Size, like: torch.Tensor) -> torch.Tensor:
        """What :meth:`drawn` takes: standard normal."""
        return torch.randn(shape, dtype=like.dtype, device=like.device)


OUTPUTS: dict[str, type[PixelOutput]] = {
    "bernoulli": BernoulliPixels,
    "categorical": CategoricalPixels,
    "logistic_mixture": LogisticMixturePixels,
    "normal": NormalPixels,
}


def pixel_output(name: str, features: int, channels: int, components: int = 10) -> PixelOutput:
    """An output by its name; UserError for an unknown one, which lists them."""
    check_choice("output", name, OUTPUTS)
    return OUTPUTS[name](features, channels, components=components)


class _Head(nn.Module):
    """A hidden layer of ELUs pixel by pixel, (..., inputs, H, W) → (..., outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(inputs, hidden, 1), nn.Conv2d(hidden, outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        maps = self.last(elu(self.first(features.reshape(-1, *features.shape[-3:]))))
        return maps.reshape(*features.shape[:-3], *maps.shape[1:])


class _Chain(nn.Module):
    """So many numbers for each channel, from the features and from the channels before it."""

    def __init__(self, features: int, channels: int, numbers: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_Head(features + earlier, numbers, features) for earlier in range(channels))

    def forward(self, features: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Of all channels at once, (..., numbers, C, H, W)."""
        lead = torch.broadcast_shapes(features.shape[:-3], value.shape[:-3])
        features, value = (tensor.expand(*lead, *tensor.shape[-3:]) for tensor in (features, value))
        numbers = [
            head(torch.cat([features, value[..., :earlier, :, :]], -3)) for earlier, head in enumerate(self.heads)
        ]
        return torch.stack(numbers, -3)

    def drawn(self, features: torch.Tensor, noise: torch.Tensor, draw: Any) -> torch.Tensor:
        """``draw(numbers, noise)`` of channel after channel, each given those drawn before it."""
        channels: list[torch.Tensor] = []
        for head, u in zip(self.heads, noise.split(1, -3), strict=True):
            numbers = head(torch.cat([features, *channels], -3))
            channels.append(draw(numbers.unsqueeze(-3), u))
        return torch.cat(channels, -3)
