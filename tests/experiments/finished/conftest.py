"""Finished runs of every system."""

import pytest

from tests.experiments.trained import SYSTEMS, copied, shared, sources, train, trained  # noqa: F401  # fixtures


@pytest.fixture(params=SYSTEMS)
def system(request) -> str:
    """Each system in turn."""
    return request.param
