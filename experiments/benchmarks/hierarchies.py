"""What the hierarchy benchmark times: the library's own deep hierarchy, and the same network by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from guides import HierarchyGuide
from ppvae import VAE
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import BottomUp, HierarchyDecoder, TopDown
from ppvae.priors import HierarchyPrior

from .hand_written import HandWritten
from .hand_written_hierarchy import HandWrittenHierarchy

__all__ = ["HIERARCHIES", "HierarchySetup"]


@dataclass(frozen=True, kw_only=True)
class HierarchySetup:
    """Sizes of one hierarchy; ``sides``: the map size of each group, from the top."""

    sides: tuple[int, ...]
    image_shape: tuple[int, int, int] = (1, 32, 32)
    batch_size: int = 16
    width: int = 16
    latents: int = 4
    scale: float = 0.1
    cell: str = "nvae"

    @property
    def hierarchy(self) -> str:
        """As :func:`~ppvae.networks.hierarchy.read_hierarchy` takes it."""
        return " ".join(f"{side}x{side}:{self.sides.count(side)}" for side in dict.fromkeys(self.sides))

    @property
    def title(self) -> str:
        return f"{len(self.sides)} groups ({self.hierarchy})"

    def images(self, seed: int = 0) -> torch.Tensor:
        """A batch of uniform noise."""
        return torch.rand(self.batch_size, *self.image_shape, generator=torch.Generator().manual_seed(seed))

    def pair(self, _kind: str = "", seed: int = 0) -> tuple[VAE, HierarchyGuide]:
        """(model, guide) in training mode, the same parameters for the same seed."""
        options: dict[str, Any] = {"channels": self.width, "cell": self.cell, "widening": 1}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            prior = HierarchyPrior(TopDown(self.hierarchy, latents=self.latents, **options))
            decoder = HierarchyDecoder(self.hierarchy, self.image_shape, **options)
            guide = HierarchyGuide(BottomUp(self.hierarchy, self.image_shape, **options), prior)
            return VAE(prior, NormalLikelihood(decoder, scale=self.scale)), guide

    def hand_written(self, _kind: str = "") -> HandWritten:
        """The same system without Pyro and with one top-down pass, with the same parameters."""
        return HandWrittenHierarchy(*self.pair(), self.scale)

    def parameters(self, model: nn.Module, guide: nn.Module) -> dict[str, nn.Parameter]:
        """A pair's parameters by their names in the hand-written system; the shared network's once."""
        return dict([*guide.named_parameters(), *model.named_parameters()])

    def modules(self, *kinds: type[nn.Module]) -> int:
        """How many modules of these kinds there are: the shared network's once."""
        return sum(isinstance(module, kinds) for module in nn.ModuleList(self.pair()).modules())


def sides_of(hierarchy: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """[(4, 1), (8, 2)] → (4, 8, 8)."""
    return tuple(side for side, count in hierarchy for _ in range(count))


HIERARCHIES = {
    5: HierarchySetup(sides=sides_of([(4, 1), (8, 2), (16, 2)])),
    15: HierarchySetup(sides=sides_of([(4, 3), (8, 5), (16, 7)])),
    30: HierarchySetup(sides=sides_of([(4, 6), (8, 10), (16, 14)])),
}
