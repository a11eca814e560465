"""The command for the day a GPU is at hand, tried at small size on the CPU."""

import csv
import time
from types import SimpleNamespace

import pytest
import torch

from experiments.benchmarks import step_time, swaps
from experiments.benchmarks.hand_written_two_view import CLUSTERS
from experiments.benchmarks.hierarchies import HIERARCHIES
from experiments.benchmarks.on_gpu import __main__ as on_gpu
from experiments.benchmarks.on_gpu import training
from experiments.benchmarks.on_gpu.page import NO_GPU, page
from experiments.benchmarks.on_gpu.sizes import FULL, SMALL
from experiments.benchmarks.on_gpu.trial import Found, Part, Row, Unit, carried_out

CPU = torch.device("cpu")


def rows_of(*parts: Part, seconds: float = 60.0) -> list[Row]:
    return carried_out(parts, seconds, lambda *_: None)


@pytest.mark.long
def test_the_small_trial_measures_every_part_and_writes_one_csv_and_one_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(step_time.gc, "collect", lambda: 0)  # half of the time at this size
    on_gpu.main(["--accelerator", "cpu", "--small", "--write", str(tmp_path)])
    with (tmp_path / "on_gpu.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["part", "what", "value", "unit", "reference", "ratio", "note"]
    parts = on_gpu.parts_of(SMALL, SimpleNamespace(device=CPU), "cpu")
    assert {row["part"] for row in rows} == {part.name for part in parts} - {"compilation"}
    assert all(float(row["value"]) >= 0 for row in rows)
    found = {(row["part"], row["what"]): row for row in rows}
    for name in (trained.name for trained in SMALL.pairs()):
        assert float(found["capture", f"{name}: loss captured"]["ratio"]) == pytest.approx(1, abs=1e-5)
        assert found["capture", f"{name}: until captured"]["note"] == "captured"
    assert float(found["moving", "largest difference over the first loss"]["value"]) == 0  # the CPU's own noise
    text = (tmp_path / "on_gpu.md").read_text()
    assert NO_GPU in text
    assert "0 failures, 0 not measured" in text
    assert text == capsys.readouterr().out[:-1]


def test_the_full_trial_names_every_pair_and_objective():
    names = {trained.name for trained in FULL.pairs()}
    swapped = [*swaps.OBJECTIVES, *swaps.PRIORS, *swaps.GUIDES]
    assert all(any(f"{swap}, mlp" in name for name in names) for swap in swapped)
    assert sum("hierarchy" in name for name in names) == len(HIERARCHIES)
    assert sum("clusters" in name for name in names) == len(CLUSTERS)
    assert len(names) == len(swapped) + 1 + len(HIERARCHIES) + len(CLUSTERS) + 4


def test_what_fails_is_a_row_and_the_trial_goes_on():
    def half():
        yield Found("first", 6.0, "s", 2.0)
        raise ValueError("no such kernel\nand a traceback")

    def units():
        yield Unit("half", half)
        yield Unit("whole", lambda: [Found("second", 1.0, "s")])
        raise RuntimeError("no more pairs")

    rows = rows_of(Part("a", "", 1, units), Part("b", "", 1, lambda: [Unit("c", lambda: [Found("third", 1, "s")])]))
    assert [(row.part, row.what, row.value, row.ratio, row.note) for row in rows] == [
        ("a", "first", 6.0, 3.0, ""),
        ("a", "half", None, None, "failed: ValueError: no such kernel"),
        ("a", "second", 1.0, None, ""),
        ("a", "", None, None, "failed: RuntimeError: no more pairs"),
        ("b", "third", 1, None, ""),
    ]
    assert "3 numbers, 2 failures, 0 not measured" in page(rows, [Part("a", "", 1, units)], CPU, 1)


def test_a_part_that_is_slow_leaves_the_others_their_time():
    """Of three seconds the endless first unit gets a twentieth."""

    def endless():
        while True:
            time.sleep(0.001)

    units = [Unit("endless", endless), Unit("late", lambda: [Found("late", 1, "s")])]
    slow, late, quick = rows_of(
        Part("slow", "", 1, lambda: units),
        Part("quick", "", 19, lambda: [Unit("quick", lambda: [Found("quick", 1, "s")])]),
        seconds=3.0,
    )
    assert slow.failed
    assert "TimeoutError: not done within" in slow.note
    assert late.note.startswith("not measured: this part's")
    assert quick.value == 1


def test_a_failure_is_exit_code_2_and_a_run_on_the_cpu_writes_only_where_it_is_told(monkeypatch, tmp_path, capsys):
    def broken():
        raise ValueError("out of luck")

    monkeypatch.setattr(on_gpu, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(on_gpu, "parts_of", lambda *_: [Part("a", "", 1, lambda: [Unit("b", broken)])])
    for options in ([], ["--write", str(tmp_path / "told")]):
        with pytest.raises(SystemExit) as ended:
            on_gpu.main(["--accelerator", "cpu", *options])
        assert ended.value.code == 2
    assert "failed: ValueError: out of luck" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["told"]
    assert sorted(path.name for path in (tmp_path / "told").iterdir()) == ["on_gpu.csv", "on_gpu.md"]


@pytest.mark.parametrize(("options", "said"), [([], "there is no GPU here"), (["--minutes", "nan"], "--minutes nan")])
def test_what_cannot_be_measured_is_said_in_one_line(options, said, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        on_gpu.main(options)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_run_that_moves_and_becomes_another_is_noticed(monkeypatch):
    """As if the device drew the second epoch's images of another data set."""
    fitted = training._fitted

    def another(sizes, pair, data, accelerator, **options):
        history = fitted(sizes, pair, data, "cpu", **options)
        return history * 2 if accelerator == "cuda" or "directory" in options else history

    monkeypatch.setattr(training, "_fitted", another)
    (row,) = [row for row in rows_of(Part("a", "", 1, lambda: training.moving_units(SMALL, "cuda"))) if row.failed]
    assert "the run that moved is another" in row.note
