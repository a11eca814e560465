"""Explorers of finished runs, which are trained as those of ``tests/experiments/finished``."""

from collections.abc import Callable
from functools import cache

import pytest

import ppvae
from experiments.explorer import Explorer
from experiments.explorer.command import explorer_of
from tests.experiments.trained import SYSTEMS, copied, shared, sources, train, trained  # noqa: F401  # fixtures

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
def explore(trained) -> Callable[[str], Explorer]:  # noqa: F811
    """The explorer of a system's run, of its first twelve images."""
    return cache(lambda system: explorer_of(ppvae.load(trained(*FURTHER.get(system, (system,)))), 12))
