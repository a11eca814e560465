"""Explorers of finished runs, which are trained as those of ``tests/experiments/finished``."""

from collections.abc import Callable

import pytest

import ppvae
from experiments.explorer import Explorer
from experiments.explorer.command import explorer_of
from tests.experiments.finished.conftest import SYSTEMS, sources, train, trained  # noqa: F401  # fixtures

FURTHER = {  # of what the finished runs have no example: words behind those of a system of theirs
    "ard": ("binary", "prior=ard", "guide=ard"),
    "spike and slab": ("binary", "prior=spike_and_slab", "guide=spike_and_slab"),
    "horseshoe": ("binary", "prior=horseshoe"),
}


@pytest.fixture(params=[*SYSTEMS, *FURTHER])
def system(request) -> str:
    """Each system in turn."""
    return request.param


@pytest.fixture(scope="session")
def explore(train, trained, tmp_path_factory) -> Callable[[str], Explorer]:  # noqa: F811
    """The explorer of a system's run, of its first twelve images."""
    made: dict[str, Explorer] = {}

    def explorer(system: str) -> Explorer:
        if system not in made:
            folder = (
                trained(system) if system in SYSTEMS else tmp_path_factory.mktemp("runs") / system.replace(" ", "_")
            )
            if system in FURTHER:
                base, *words = FURTHER[system]
                train(base, folder, *words)
            made[system] = explorer_of(ppvae.load(folder), 12)
        return made[system]

    return explorer
