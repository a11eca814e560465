"""What the hierarchy benchmark times: maps of latents from the top down, by one network that both programs share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.hand_written_hierarchy import HandWrittenHierarchy
from ppvae import Program

__all__ = ["HIERARCHIES", "BottomUp", "HierarchySetup", "Residual", "TopDown"]

type Draw = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Residual(nn.Module):
    """x + f(x): two 3 × 3 convolutions, each with BatchNorm before and SiLU; features (image, width, row, column)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
        self.convolutions = nn.ModuleList(  # the second norm would cancel the first one's bias
            nn.Conv2d(width, width, 3, padding=1, bias=bias) for bias in (False, True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(F.silu(norm(y)))
        return x + y


def head(width: int, latents: int) -> nn.Conv2d:
    """Features to locations and log scales, near zero at first, as scales multiply from group to group."""
    convolution = nn.Conv2d(width, 2 * latents, 1)
    nn.init.normal_(convolution.weight, std=0.01)
    return convolution


class TopDown(nn.Module):
    """From a learned constant down through the groups; ``sides`` are the groups' map sizes, none larger than the next.

    ``walk(images, draw)`` → features of the last group. ``draw(group, features, loc, log_scale)`` → latents
    (image, latents, row, column), given the prior's parameters of that group.
    """

    def __init__(self, sides: Sequence[int], width: int, latents: int) -> None:
        super().__init__()
        self.sides = tuple(sides)
        self.constant = nn.Parameter(torch.randn(1, width, sides[0], sides[0]))
        self.entering = nn.ModuleList(Residual(width) for _ in sides)
        self.priors = nn.ModuleList(head(width, latents) for _ in sides)
        self.leaving = nn.ModuleList(nn.Conv2d(latents, width, 1) for _ in sides)

    def walk(self, images: int, draw: Draw) -> torch.Tensor:
        features = self.constant.expand(images, -1, -1, -1)
        for group, side in enumerate(self.sides):
            if features.shape[-1] != side:
                features = F.interpolate(features, size=(side, side))
            features = self.entering[group](features)
            loc, log_scale = self.priors[group](F.silu(features)).chunk(2, 1)
            features = features + self.leaving[group](draw(group, features, loc, log_scale))
        return features


class BottomUp(nn.Module):
    """Features of images at each side: images (image, C, H, W) → side to (image, width, side, side)."""

    def __init__(self, image_shape: Sequence[int], sides: Sequence[int], width: int) -> None:
        super().__init__()
        self.sides = sorted({*sides}, reverse=True)
        strides = [large // small for large, small in zip((image_shape[-1], *self.sides), self.sides, strict=False)]
        channels = [image_shape[0], *[width] * (len(strides) - 1)]
        self.down = nn.ModuleList(
            nn.Conv2d(entering, width, stride, stride) for entering, stride in zip(channels, strides, strict=True)
        )
        self.cells = nn.ModuleList(Residual(width) for _ in strides)

    def forward(self, images: torch.Tensor) -> dict[int, torch.Tensor]:
        features, found = images, {}
        for side, down, cell in zip(self.sides, self.down, self.cells, strict=True):
            features = found[side] = cell(down(features))
        return found


def site(group: int, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """z_1 … z_L, each with dims of its own."""
    number = group + 1
    dims = [f"latent_{number}", f"row_{number}", f"column_{number}"]
    return pyro.sample(f"z_{number}", dist.Normal(loc, scale).to_event(3), infer={"event_dims": dims})


class HierarchicalModel(Program):
    """p(x | z_1 … z_L) Π p(z_l | z_1 … z_l−1), pixels Normal(mean, ``scale``)."""

    def __init__(self, top_down: TopDown, width: int, image_shape: Sequence[int], scale: float) -> None:
        super().__init__()
        self.top_down, self.scale = top_down, scale
        stride = image_shape[-1] // top_down.sides[-1]
        self.out = nn.ConvTranspose2d(width, image_shape[0], stride, stride)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", len(images), dim=-1):
            features = self.top_down.walk(len(images), lambda group, _, loc, log: site(group, loc, log.exp()))
            pixels = dist.Normal(self.out(F.silu(features)), self.scale).to_event(3)
            return pyro.sample("x", pixels, obs=images, infer={"event_dims": ["channel", "row", "column"]})


class HierarchicalGuide(Program):
    """Π q(z_l | z_1 … z_l−1, x): normals relative to the prior's, on the model's own top-down network."""

    def __init__(self, top_down: TopDown, bottom_up: BottomUp, width: int, latents: int) -> None:
        super().__init__()
        self.top_down, self.bottom_up = top_down, bottom_up
        self.posteriors = nn.ModuleList(head(2 * width, latents) for _ in top_down.sides)

    def forward(self, images: torch.Tensor) -> None:
        found = self.bottom_up(images)

        def draw(group: int, features: torch.Tensor, loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
            seen = torch.cat([features, found[features.shape[-1]]], 1)
            shift, log_ratio = self.posteriors[group](F.silu(seen)).chunk(2, 1)
            return site(group, loc + shift, (log_scale + log_ratio).exp())

        with pyro.plate("image", len(images), dim=-1):
            self.top_down.walk(len(images), draw)


@dataclass(frozen=True, kw_only=True)
class HierarchySetup:
    """Sizes of one hierarchy; ``sides``: the map size of each group, from the top."""

    sides: tuple[int, ...]
    image_shape: tuple[int, int, int] = (1, 32, 32)
    batch_size: int = 16
    width: int = 16
    latents: int = 4
    scale: float = 0.1

    @property
    def title(self) -> str:
        sizes = " ".join(f"{side}x{side}:{self.sides.count(side)}" for side in dict.fromkeys(self.sides))
        return f"{len(self.sides)} groups ({sizes})"

    def images(self, seed: int = 0) -> torch.Tensor:
        """A batch of uniform noise."""
        return torch.rand(self.batch_size, *self.image_shape, generator=torch.Generator().manual_seed(seed))

    def pair(self, _kind: str = "", seed: int = 0) -> tuple[nn.Module, nn.Module]:
        """(model, guide) in training mode, the same parameters for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            top_down = TopDown(self.sides, self.width, self.latents)
            model = HierarchicalModel(top_down, self.width, self.image_shape, self.scale)
            bottom_up = BottomUp(self.image_shape, self.sides, self.width)
            return model, HierarchicalGuide(top_down, bottom_up, self.width, self.latents)

    def hand_written(self, _kind: str = "") -> nn.Module:
        """The same system without Pyro and with one top-down pass, with the same parameters."""
        return HandWrittenHierarchy(*self.pair())

    def parameters(self, model: nn.Module, guide: nn.Module) -> dict[str, nn.Parameter]:
        """A pair's parameters by their names in the hand-written system; the shared network's once."""
        return dict([*guide.named_parameters(), *model.named_parameters()])

    def convolutions(self) -> int:
        """How many modules convolve: the shared network's once."""
        kinds = nn.Conv2d | nn.ConvTranspose2d
        return sum(isinstance(module, kinds) for module in nn.ModuleList(self.pair()).modules())


def sides_of(counts: dict[int, int]) -> tuple[int, ...]:
    """{4: 1, 8: 2} → (4, 8, 8)."""
    return tuple(side for side, count in counts.items() for _ in range(count))


HIERARCHIES = {
    4: HierarchySetup(sides=sides_of({4: 1, 8: 1, 16: 2})),
    10: HierarchySetup(sides=sides_of({4: 2, 8: 3, 16: 5})),
    20: HierarchySetup(sides=sides_of({4: 4, 8: 6, 16: 10})),
}
