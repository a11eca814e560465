"""What the published settings of deep hierarchies would take, built on the meta device: parameters, memory, hours.

``python -m experiments.benchmarks.paper_sizes [--rate TFLOPS] [--write PAGE.md]``

Nothing is trained. ``--rate``: what one device was measured to compute a second; by default that of the step of 15
groups in ``memory.md``.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyro
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from ..assemble import maps_of
from ..command import CONF
from ..pairs import pair
from ..provenance import as_markdown, command_line, environment
from ..resolvers import register_resolvers
from .hierarchies import HIERARCHIES, HierarchySetup

__all__ = ["Cost", "cost", "main", "of_paper"]

IMAGES = {"nvae_mnist": 50_000, "nvae_cifar10": 50_000, "nvae_celeba64": 162_770}
SHAPES = {"nvae_mnist": (1, 28, 28), "nvae_cifar10": (3, 32, 32), "nvae_celeba64": (3, 64, 64)}
PUBLISHED = {"nvae_mnist": 42, "nvae_cifar10": 440, "nvae_celeba64": 736}  # V100-hours: recipes' devices × hours
PASSES = 3  # forward, and twice as much backward
MEASURED = HierarchySetup(sides=HIERARCHIES[15].sides, batch_size=128, width=32), 0.0741  # seconds a step, memory.md


class Cost(NamedTuple):
    """Of one image in one forward pass: operations, and bytes that autograd keeps; and the pair's parameters."""

    operations: float
    kept: int
    parameters: int


def cost(model: nn.Module, guide: nn.Module, image_shape: Sequence[int], batch: int = 2) -> Cost:
    """Of a pair on the meta device, with its way down passed once, as a captured step does."""
    seen: dict[int, int] = {}
    programs = nn.ModuleList([model, guide]).to("meta").train()
    known = {one.untyped_storage()._cdata for one in (*programs.parameters(), *programs.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage._cdata] = storage.nbytes()
        return tensor

    images = torch.empty(batch, *image_shape, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, saved_tensors_hooks(keep, lambda tensor: tensor), pyro.validation_enabled(False):
        _maps = model.get_submodule("likelihood.decoder")(guide(images))
    kept = sum(size for key, size in seen.items() if key not in known)
    parameters = sum(parameter.numel() for parameter in programs.parameters())
    return Cost(counter.get_total_flops() / batch, kept // batch, parameters)


def of_paper(experiment: str) -> tuple[DictConfig, Cost]:
    """The published settings of an experiment, and what an image of it costs."""
    configuration = compose("config", [f"experiment={experiment}", "size=paper"])
    configuration.image_shape = list(SHAPES[experiment])
    configuration.maps = maps_of(configuration.likelihood, SHAPES[experiment][0])
    with torch.device("meta"):
        model, guide = pair(configuration)
    return configuration, cost(model, guide, SHAPES[experiment])


def rate_measured() -> float:
    """Operations a second of the step that ``memory.md`` has."""
    setup, seconds = MEASURED
    with torch.device("meta"):
        one = cost(*setup.pair(), setup.image_shape)
    return PASSES * one.operations * setup.batch_size / seconds


HEAD = """\
| experiment | groups | parameters, million | forward, GFLOP an image | kept, MiB an image | batch | \
kept in all, GiB | epochs | device-hours | published, V100-hours |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def row(experiment: str, rate: float) -> str:
    """One line of the table."""
    configuration, one = of_paper(experiment)
    trainer, hierarchy = configuration.trainer, configuration.network.hierarchy
    hours = PASSES * one.operations * IMAGES[experiment] * trainer.epochs / rate / 3600
    cells = [
        f"{one.parameters / 1e6:.1f}",
        f"{one.operations / 1e9:.1f}",
        f"{one.kept / 2**20:.0f}",
        str(trainer.batch_size),
        f"{one.kept * trainer.batch_size / 2**30:.0f}",
        str(trainer.epochs),
        f"{hours:.0f}",
        str(PUBLISHED[experiment]),
    ]
    return f"| `{experiment}` | {hierarchy} | {' | '.join(cells)} |"


def page(rate: float, line: Callable[[str, float], str] = row) -> str:
    """The page of all."""
    how = (
        "Built on the meta device from `size=paper`. Operations and kept bytes are those of one forward pass of guide "
        "and decoder in single precision, the way down once; a step is taken for three of them. Device-hours at "
        f"{rate / 1e12:.1f} TFLOP/s, what the captured step of 15 groups, width 32 and batch 128 was measured to do "
        "(`memory.md`; a GPU that other runs shared), so a guess on the high side: larger maps keep a GPU busier. What "
        "is kept is divided by the devices, and by recomputation and bf16 to 0.17 to 0.33 of it (`memory.md`)."
    )
    facts = as_markdown({"command": command_line("experiments.benchmarks.paper_sizes"), **environment(seed=0)})
    rows = "\n".join([HEAD, *(line(experiment, rate) for experiment in IMAGES)])
    return "\n\n".join(["# What the published settings would take", how, rows, facts])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.paper_sizes", description=__doc__)
    parser.add_argument("--rate", type=float, help="TFLOP/s of one device")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args(arguments)
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        text = page(rate_measured() if chosen.rate is None else 1e12 * chosen.rate)
    print(text)
    if chosen.write:
        chosen.write.write_text(text + "\n")


if __name__ == "__main__":
    main()
