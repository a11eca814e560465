"""CSV, TSV and Parquet: what parts a line is found, entries stay as written where asked, faults end in one line."""

import gzip
import os

import numpy as np
import pandas as pd
import pytest

from ppvae.datasets import frames
from ppvae.datasets.frames import read_frame
from ppvae.errors import UserError

WRITTEN = pd.DataFrame({"name": ["007", "8"], "x, µm": [0.1, 2.5], "a;b": [1, 2]})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t.csv", {}),
        ("t.csv", {"sep": ";"}),
        ("t.txt", {"sep": "\t", "encoding": "utf-8-sig"}),
        ("t.tsv", {"sep": "\t"}),
        ("t.csv.gz", {}),
        ("T.CSV.GZ", {"sep": ";", "compression": "gzip"}),
    ],
)
def test_what_was_written_is_read(tmp_path, name, options):
    WRITTEN.to_csv(tmp_path / name, index=False, **options)
    pd.testing.assert_frame_equal(read_frame(tmp_path / name), WRITTEN.assign(name=[7, 8]))
    text = read_frame(tmp_path / name, text=True)
    assert text.to_numpy().tolist() == [["007", "0.1", "1"], ["8", "2.5", "2"]]


def test_a_tab_parts_a_tsv_whatever_else_its_names_hold(tmp_path):
    (tmp_path / "t.tsv").write_text("a,b,c\tx\n1\t2\n")
    assert list(read_frame(tmp_path / "t.tsv")) == ["a,b,c", "x"]
    (tmp_path / "t.csv").write_text("a,b,c\tx\n1,2,3\n")
    assert list(read_frame(tmp_path / "t.csv")) == ["a", "b", "c\tx"]


def test_spreadsheets_end_lines_with_a_comma(tmp_path):
    """No column is taken for the rows' names, as pandas would."""
    (tmp_path / "t.csv").write_text("a,b\n1,2,\n3,4,\n")
    assert read_frame(tmp_path / "t.csv").to_dict("list") == {"a": [1, 3], "b": [2, 4]}


def test_parquet_is_read_as_it_was_written(tmp_path):
    for ending in ("parquet", "pq"):
        path = tmp_path / f"t.{ending}"
        WRITTEN.to_parquet(path)
        pd.testing.assert_frame_equal(read_frame(path), WRITTEN)
        assert read_frame(path, text=True)["name"].tolist() == ["007", "8"]


def test_an_index_of_a_parquet_file_is_a_column_where_it_has_a_name(tmp_path):
    """As in the CSV that pandas writes; what is left of rows that were dropped has none."""
    WRITTEN.set_index("name").to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "t.parquet"), WRITTEN)
    assert read_frame(tmp_path / "t.parquet", text=True)["name"].tolist() == ["007", "8"]
    WRITTEN[1:].to_parquet(tmp_path / "t.parquet")
    assert read_frame(tmp_path / "t.parquet").to_dict("list") == WRITTEN[1:].to_dict("list")


def test_a_parquet_file_that_does_not_fit_once_unpacked_is_not_read(tmp_path, monkeypatch):
    """A million equal numbers take little on disk, and eight bytes each in memory."""
    pd.DataFrame({"x": np.ones(10**6)}).to_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 10**5
    monkeypatch.setattr("ppvae.memory.available_memory", lambda: 10**6)
    with pytest.raises(UserError, match=r"needs 15\.3 MiB of memory"):
        read_frame(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.csv", b"a,b\n1,2,3\n4,5,6\n", "Length of header or names does not match length of data"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "codec can't decode"),
        ("t.csv", b"a,b\n\x00\xff\n", "codec can't decode"),
        ("t.csv.gz", b"a,b\n1,2\n", "Not a gzipped file"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "ended before"),
        ("t.csv.gz", gzip.compress(bytes(2**12), mtime=0), "unpacks to more than 1.0 KiB"),
        ("t.csv", bytes(2**12), "has 4.0 KiB, expected at most 1.0 KiB"),
    ],
)
def test_faults_end_in_one_line(tmp_path, monkeypatch, name, content, line):
    monkeypatch.setattr(frames, "LARGEST", 2**10)
    (tmp_path / name).write_bytes(content)
    for text in (False, True):
        with pytest.raises(UserError, match=f"{name}' cannot be read as CSV table .*{line}.*: give a text") as caught:
            read_frame(tmp_path / name, text=text)
        assert "\n" not in str(caught.value)


def test_a_table_that_does_not_fit_into_memory_is_not_read(tmp_path, monkeypatch):
    WRITTEN.to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.setattr("ppvae.memory.available_memory", lambda: os.stat(tmp_path / "t.csv").st_size)
    with pytest.raises(UserError, match=r"needs .* of memory, .* are left"):
        read_frame(tmp_path / "t.csv")


def test_numbers_are_the_nearest_to_what_is_written(tmp_path):
    x = np.random.default_rng(0).normal(size=2000) * 10.0 ** np.random.default_rng(1).integers(-300, 300, 2000)
    pd.DataFrame({"x": x}).to_csv(tmp_path / "t.csv", index=False)
    np.testing.assert_array_equal(read_frame(tmp_path / "t.csv")["x"], x)
