"""What stands beside every number: the command that makes it again, and the commit of this code and no other."""

import subprocess
import sys

import ppvae
from experiments import provenance


def test_a_checkout_is_run_by_its_module_and_an_installation_by_its_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["anything", "prior=normal", "name=a b"])
    assert provenance.command_line() == "uv run -m experiments prior=normal 'name=a b'"
    monkeypatch.setattr(provenance, "__package__", "ppvae_experiments")
    assert provenance.command_line() == "ppvae train prior=normal 'name=a b'"


def test_the_version_is_told():
    assert provenance.environment(0)["ppvae"] == ppvae.__version__


def test_an_installation_inside_another_checkout_has_no_commit(tmp_path, monkeypatch):
    """As in a user's project, whose environment lies in its folder: that commit is not this code's."""
    for command in (["init"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    installed = tmp_path / "provenance.py"
    installed.touch()
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance._commit.__wrapped__() == "unknown"
    subprocess.run(["git", "add", "provenance.py"], cwd=tmp_path, check=True)
    assert provenance._commit.__wrapped__() != "unknown"
