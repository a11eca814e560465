"""Names in configurations mean this package, whatever it is installed as."""

import sys
from pathlib import Path

import pytest

import experiments
from experiments.own_names import importable, named


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The same package as a wheel installs it, beside a user's own folder of the name that it has in a checkout."""
    (tmp_path / "ppvae_experiments").symlink_to(Path(experiments.__file__).parent)
    monkeypatch.syspath_prepend(tmp_path)
    from ppvae_experiments import own_names

    yield own_names
    for name in [name for name in sys.modules if name.partition(".")[0] == "ppvae_experiments"]:
        del sys.modules[name]


def test_a_checkout_has_the_names_that_configurations_say():
    assert importable("experiments.jobs.single.run") == "experiments.jobs.single.run"
    assert named("experiments.own_names.named") is named


def test_an_installation_has_them_under_its_own_name(installed):
    assert installed.importable("experiments.jobs.single.run") == "ppvae_experiments.jobs.single.run"
    assert installed.named("experiments.own_names.named") is installed.named


def test_what_is_not_ours_keeps_its_name(installed):
    """The whole package is nobody's job, and ``experiments.mine`` is a user's own."""
    for name in ("ppvae.priors.NormalPrior", "experiments", "experiments.mine.Prior", "experimentsx.jobs", ""):
        assert installed.importable(name) == name


@pytest.mark.parametrize("name", [None, 3, "experiments.nothing"])
def test_no_name_is_an_error_as_of_any_name(name):
    with pytest.raises((AttributeError, TypeError, ImportError)):
        named(name)
