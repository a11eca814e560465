"""Hostile data sets end in one line, and the benchmark that tries them all tells what happened."""

import pytest

from experiments.benchmarks import hostile_data
from experiments.benchmarks.hostile_files import KINDS, Outcome, main
from ppvae import UserError

SLOW = {"zeros, 2.5 GiB of 2.5 MB", "10^5 empty images"}  # to make
DATA = {kind: files for kind, files in KINDS.items() if files.load.__module__ == hostile_data.__name__}
FILES = [(kind, name) for kind, files in DATA.items() for name in files.make if name not in SLOW]


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_hostile_data_end_in_one_line(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "inside" / "data"
    folder.mkdir(parents=True)
    KINDS[kind].make[name](folder)
    with pytest.raises(UserError) as caught:
        KINDS[kind].load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"inside"}
    assert {path.name for path in folder.parent.iterdir()} == {"data"}


def test_the_page_counts_what_did_not_end_in_one_line(tmp_path, monkeypatch):
    def told(kind: str, name: str) -> Outcome:
        return Outcome(kind, name, f"no `{name}`\nhere", name != "it is a FIFO", 0.25, 2**20)

    monkeypatch.setattr("experiments.benchmarks.hostile_files.tried", told)
    main(["--write", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    count = len(KINDS["NumPy archive"].make)
    assert f"| NumPy archive | {count} | {count - 1} | 1 | 0.25 s | 1.0 MiB |" in page
    assert "- NumPy archive, it is a FIFO: **other** `no 'it is a FIFO' here`" in page


@pytest.mark.long
def test_all_hostile_files_end_in_one_line(tmp_path):
    outcomes = main(["--write", str(tmp_path / "page.md")])
    assert len(outcomes) == sum(len(files.make) for files in KINDS.values()) >= 60
    assert [outcome for outcome in outcomes if not outcome.one_line or outcome.seconds > 20] == []
