"""Hydra as the command line starts it, for tests that compose configurations in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from matplotlib.figure import Figure
from omegaconf import OmegaConf

import experiments
from experiments import report, training
from experiments.rehearsal import rehearse
from experiments.resolvers import register_resolvers
from experiments.vector_figures import as_svg
from tests.browser import browser  # noqa: F401  # a fixture

CONF = Path(experiments.__file__).parent / "conf"


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    OmegaConf.clear_resolver("or")
    OmegaConf.clear_resolver("console_level")
    OmegaConf.clear_resolver("own_name")


@pytest.fixture(autouse=True, scope="session")
def _short() -> Iterator[None]:
    """Runs in this process are not tried before they begin, and their figures are not drawn, which takes most of the
    time of small ones; those of processes of their own are."""
    blank = as_svg(Figure(figsize=(1, 1)), 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "rehearse", lambda *_: None)
        patch.setattr(report, "as_svg", lambda *_: blank)
        yield


@pytest.fixture
def rehearsed(monkeypatch) -> None:
    """Runs are tried before they begin, as those of users are."""
    monkeypatch.setattr(training, "rehearse", rehearse)


@pytest.fixture
def drawn(monkeypatch) -> None:
    """The figures of pages are drawn, as those of users are."""
    monkeypatch.setattr(report, "as_svg", as_svg)


COMMAND_LINE = """
import runpy
sys.argv[1:] = {words}
runpy.run_module("experiments", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="session")
def command_line(forked) -> Callable[..., CompletedProcess]:
    """``python -m experiments WORDS`` in a folder; the process begins with what takes seconds to import behind it."""
    return lambda cwd, *words: forked(cwd, COMMAND_LINE.format(words=list(words)))
