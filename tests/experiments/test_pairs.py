"""What a group describes is built only where it names a thing of the right kind."""

import subprocess

import pytest
from omegaconf import OmegaConf
from torch import nn

from experiments.pairs import built
from ppvae import Objective, UserError
from ppvae.objectives import BetaELBO


@pytest.mark.parametrize(
    "target", [None, 3, ["os"], "os", "os.system", "builtins.eval", "nowhere.Thing", "torch.nn.Nope", "", "."]
)
@pytest.mark.parametrize("kind", [object, nn.Module])
def test_what_is_no_class_or_function_is_one_line_and_never_called(target, kind):
    group = OmegaConf.create({"guide": {"_target_": target}}).guide
    with pytest.raises(UserError, match=r"^guide\._target_=.*expected the name of") as caught:
        built(group, kind)
    assert "\n" not in str(caught.value)


def test_a_module_of_this_folder_is_found_by_pythonpath(tmp_path, monkeypatch):
    """Of a name that lies nowhere nothing more is said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_parts.py").write_text("")
    for name, told in (("my_parts.Guide", True), ("your_parts.Guide", False)):
        with pytest.raises(UserError) as caught:
            built(OmegaConf.create({"guide": {"_target_": name}}).guide, nn.Module)
        assert ("PYTHONPATH=. finds modules of this folder" in str(caught.value)) == told


def test_a_class_of_another_kind_is_not_made(monkeypatch):
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *_, **__: pytest.fail("made"))
    group = OmegaConf.create({"guide": {"_target_": "subprocess.Popen", "args": ["true"]}}).guide
    with pytest.raises(UserError, match=r"guide\._target_=subprocess\.Popen: expected the name of a kind of Module"):
        built(group, nn.Module)
    with pytest.raises(UserError, match="kind of Objective"):
        built(OmegaConf.create({"_target_": "torch.nn.Identity"}), Objective)


def test_parts_inside_are_looked_at_too():
    group = OmegaConf.create({"guide": {"_target_": "torch.nn.Identity", "inner": {"_target_": "os.system"}}}).guide
    with pytest.raises(UserError, match=r"guide\.inner\._target_=os\.system"):
        built(group, nn.Module)


def test_a_function_is_held_to_what_it_gives():
    group = OmegaConf.create({"guide": {"_target_": "posixpath.basename", "p": "a/b"}}).guide
    with pytest.raises(UserError, match=r"guide\._target_=posixpath\.basename gave a str, no Module"):
        built(group, nn.Module)


def test_what_is_no_group_is_one_line():
    for group in (None, "normal", OmegaConf.create(["a"]), 3):
        with pytest.raises(UserError, match="where a group of the configuration is expected"):
            built(group)


def test_what_fits_is_built():
    assert isinstance(built(OmegaConf.create({"_target_": "ppvae.BetaELBO", "beta": 2.0}), Objective), BetaELBO)
    partial = built(OmegaConf.create({"_target_": "ppvae.Annealed", "_partial_": True, "steps": 5}), Objective)
    assert isinstance(partial(objective=BetaELBO()), Objective)
