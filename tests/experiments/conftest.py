"""Hydra as the command line starts it, for tests that compose configurations in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import experiments
from experiments import training
from experiments.rehearsal import rehearse
from experiments.resolvers import register_resolvers
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
def _unrehearsed() -> Iterator[None]:
    """Runs in this process are not tried before they begin, which takes as long as they do here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "rehearse", lambda *_: None)
        yield


@pytest.fixture
def rehearsed(monkeypatch) -> None:
    """Runs are tried before they begin, as those of users are."""
    monkeypatch.setattr(training, "rehearse", rehearse)


COMMAND_LINE = """
import runpy
sys.argv[1:] = {words}
runpy.run_module("experiments", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="session")
def command_line(forked) -> Callable[..., CompletedProcess]:
    """``python -m experiments WORDS`` in a folder; the process begins with what takes seconds to import behind it."""
    return lambda cwd, *words: forked(cwd, COMMAND_LINE.format(words=list(words)))
