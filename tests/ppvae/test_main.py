"""``python -m ppvae`` and the console command find the command line by name, whatever that is here."""

import sys
from importlib.machinery import ModuleSpec

from ppvae import __main__ as command
from ppvae import application


def test_the_command_line_is_called(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ppvae", "--version"])
    monkeypatch.setattr("experiments.subcommands.obey_signals", lambda: None)
    command.main()
    assert capsys.readouterr().out.startswith("ppvae ")


def test_a_wheel_s_command_line_comes_before_a_folder_called_experiments(monkeypatch):
    imported = []

    class Package:
        @staticmethod
        def main():
            imported.append("called")

    monkeypatch.setattr(application, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setattr(application, "import_module", lambda name: imported.append(name) or Package)
    command.main()
    assert imported == ["ppvae_experiments.subcommands", "called"]
