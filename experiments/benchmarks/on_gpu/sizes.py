"""How large the trial is: as a GPU deserves, or as small as a test wants it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from torch import nn

from ppvae import Annealed, Balanced, BetaELBO, Objective, Penalised
from ppvae.datasets import ImageDataset, sprites
from ppvae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder

from ..hand_written_two_view import CLUSTERS, Clusters
from ..hierarchies import HIERARCHIES, HierarchySetup
from ..setups import CONV, MLP, Kind, Setup
from ..swaps import PLAIN, swapped
from ..two_view_setup import TWO_VIEW, TwoViewSetup

__all__ = ["FULL", "SMALL", "Sizes", "Trained"]


NVAE = Annealed(objective=Penalised(objective=Balanced()))


class Trained(NamedTuple):
    """A pair by its name, what it is trained on, and the set-up that it is of."""

    name: str
    pair: tuple[nn.Module, nn.Module]
    objective: Objective
    setup: Setup | HierarchySetup | TwoViewSetup


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is tried and how much of it. ``swaps``: names of those tried, all where it is None; ``compiled``: whether
    anything is compiled, which on a CPU takes a minute a pair."""

    setups: dict[str, Setup]
    timed: tuple[str, ...]  # those whose steps are timed
    hierarchies: tuple[HierarchySetup, ...]
    two_view: TwoViewSetup
    clusters: tuple[Clusters, ...]
    swaps: tuple[str, ...] | None
    compiled: bool
    images: int
    image_size: int
    epochs: int
    steps: int
    rounds: int
    exported: int
    draws: int
    estimated: int  # images whose log p(x) is estimated
    samples: int
    recipes: tuple[str, ...] | None = None

    def data(self) -> ImageDataset:
        """Sprites, drawn on the CPU."""
        return sprites(self.images, image_size=self.image_size)

    def pair(self, kind: Kind = "NGVAE") -> tuple[nn.Module, nn.Module]:
        """The main job's, or its VAE."""
        return self.setups["conv"].pair(kind)

    def pairs(self) -> Iterator[Trained]:
        """Every pair and objective, the main job's first."""
        conv, mlp = self.setups["conv"], self.setups["mlp"]
        yield Trained("NGVAE, conv", conv.pair("NGVAE"), BetaELBO(), conv)
        yield Trained("NGVAE, conv, g-rep", conv.pair("NGVAE", "g-rep"), BetaELBO(estimator="trace"), conv)
        yield Trained("VAE, conv", conv.pair("VAE"), BetaELBO(), conv)
        for kind in self.clusters:
            yield Trained(f"two views, clusters {kind}", self.two_view.pair(kind), BetaELBO(), self.two_view)
        for hierarchy in self.hierarchies:
            yield Trained(f"hierarchy, {hierarchy.title}", hierarchy.pair(), BetaELBO(), hierarchy)
        first = self.hierarchies[0]
        yield Trained("groups balanced, network penalised", first.pair(), NVAE, first)
        for part, name, pair, objective in swapped(mlp):
            if self.swaps is None or name in self.swaps:
                yield Trained(f"{part} {name}, mlp".strip(), pair, objective, mlp)


FULL = Sizes(
    setups={"mlp": MLP, "conv": CONV},
    timed=("mlp", "conv"),
    hierarchies=tuple(HIERARCHIES.values()),
    two_view=TWO_VIEW,
    clusters=CLUSTERS,
    swaps=None,
    compiled=True,
    images=8192,
    image_size=64,
    epochs=5,
    steps=50,
    rounds=10,
    exported=16_384,
    draws=8,
    estimated=128,
    samples=5000,
)


def _narrow(network: Callable[..., nn.Module], **options: object) -> Callable[..., nn.Module]:
    return partial(network, **options)


SMALL = Sizes(
    setups={
        "mlp": replace(
            MLP,
            image_shape=(1, 8, 8),
            batch_size=8,
            encoder=_narrow(MLPEncoder, hidden=(16,)),
            decoder=_narrow(MLPDecoder, hidden=(16,)),
        ),
        "conv": replace(
            CONV,
            image_shape=(3, 32, 32),
            batch_size=8,
            encoder=_narrow(ConvEncoder, channels=(4, 4)),
            decoder=_narrow(ConvDecoder, channels=(4, 4)),
        ),
    },
    timed=("mlp",),
    hierarchies=(HierarchySetup(sides=(2, 4), image_shape=(1, 8, 8), batch_size=4, width=4, latents=2),),
    two_view=replace(TWO_VIEW, image_shape=(3, 8, 8), batch_size=4, channels=(4, 8), latents=3, clusters=5),
    clusters=("optimal",),
    swaps=(PLAIN, "soft free bits"),
    compiled=False,
    images=32,
    image_size=32,
    epochs=2,
    steps=1,
    rounds=1,
    exported=16,
    draws=2,
    estimated=4,
    samples=16,
    recipes=("average 0.99", "skip", "two parts a step"),
)
