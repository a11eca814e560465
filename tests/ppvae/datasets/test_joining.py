"""Tables beside pictures: joined by file name, columns used or refused with the reason, what does not join listed."""

import logging
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ppvae.datasets import image_folder
from ppvae.errors import UserError

NAMES = [f"{number:03}.png" for number in range(12)]
TABLE = pd.DataFrame(
    {
        "picture": NAMES,
        "shape": [("round", "long")[number % 2] for number in range(12)],
        "radius": np.linspace(0.5, 1.7, 12).round(2),
        "count": np.arange(12) % 3 + 4,
        "whole": (np.arange(12) % 4).astype(float),
        "left": np.arange(12) < 5,
    }
)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "cells").mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(np.full((4, 6), number, np.uint8)).save(tmp_path / "cells" / name)
    return tmp_path / "cells"


def write(folder: Path, table: pd.DataFrame, name: str = "labels.csv", **options) -> Path:
    table.to_csv(folder.parent / name, index=False, **options)
    return folder.parent / name


def rows_of(data) -> list[int]:
    return data.stored().amax((1, 2, 3)).tolist()


@pytest.mark.parametrize("spelt", [str, lambda name: name[:-4], lambda name: f"D:\\cells\\{name}"])
@pytest.mark.parametrize("order", [1, -1])
def test_rows_are_found_by_name_in_any_order(folder, spelt, order):
    table = TABLE.assign(picture=[spelt(name) for name in NAMES])[::order]
    data = image_folder(folder, table=write(folder, table))
    assert rows_of(data) == list(range(12))
    assert data.files.tolist() == NAMES
    factors = data.factors
    assert list(factors) == ["shape", "radius", "count", "whole", "left"]
    assert factors["shape"].attrs["values"] == ["long", "round"]
    np.testing.assert_array_equal(factors["shape"], (np.arange(12) + 1) % 2)
    np.testing.assert_array_equal(factors["radius"], TABLE["radius"])
    assert "levels" not in factors["radius"].attrs
    assert factors["count"].attrs["values"] == [4, 5, 6]
    assert factors["whole"].attrs["values"] == [0.0, 1.0, 2.0, 3.0]
    assert factors["left"].attrs["values"] == [False, True]
    assert "radius continuous" in repr(data)


@pytest.mark.parametrize("options", [{"sep": ";"}, {"sep": "\t"}, {"encoding": "utf-8-sig"}])
def test_spreadsheets_write_csv_in_their_own_ways(folder, options):
    table = TABLE.rename(columns={"radius": "Größe, µm"})
    factors = image_folder(folder, table=write(folder, table, **options)).factors
    np.testing.assert_array_equal(factors["Größe, µm"], TABLE["radius"])


def test_numbered_pictures_keep_their_zeros(folder):
    """007 as text and as a number are two names."""
    with pytest.raises(UserError, match=r"no column names a picture; the first is '000\.png'"):
        image_folder(folder, table=write(folder, TABLE.assign(picture=np.arange(12))))
    zeros = TABLE.assign(picture=[f"{number:03}" for number in range(12)])
    assert rows_of(image_folder(folder, table=write(folder, zeros))) == list(range(12))


def test_columns_are_those_that_were_named(folder):
    path = write(folder, TABLE.assign(name=NAMES))
    assert list(image_folder(folder, table=path, columns=["radius"]).factors) == ["radius"]
    with pytest.raises(UserError, match="no column 'size': name one of picture, shape"):
        image_folder(folder, table=path, columns=["size"])
    with pytest.raises(UserError, match="no column 'file'"):
        image_folder(folder, table=path, join="file")
    with pytest.raises(UserError, match="the column 'shape' does not name a picture"):
        image_folder(folder, table=path, join="shape")
    assert "picture" not in image_folder(folder, table=path, join="picture").factors


def test_columns_that_are_no_factor_are_said_or_refused(folder, caplog):
    notes = [f"seen on day {number}" for number in range(12)]
    table = TABLE.assign(gap=[None, *range(11)], note=notes, row=1)
    path = write(folder, table)
    with caplog.at_level(logging.WARNING):
        factors = image_folder(folder, table=path).factors
    assert not {"gap", "note", "row"}.intersection(factors)
    assert "'gap' has no finite value for 1 of 12 images" in caplog.text
    assert "'note' names 12 of 12 images apart" in caplog.text
    assert "'row' has the name of an image axis" in caplog.text
    with pytest.raises(UserError, match="'gap' has no finite value for 1 of 12"):
        image_folder(folder, table=path, columns=["gap"])
    assert image_folder(folder, table=path, columns=["note"]).factors["note"].attrs["levels"] == 12


def test_pictures_without_a_row_are_refused_or_dropped_and_listed(folder, caplog):
    path = write(folder, TABLE.drop(index=[3, 7]))
    with pytest.raises(UserError, match=r"no row for 2 of 12 pictures: '003\.png', '007\.png'; .*unlabelled=drop"):
        image_folder(folder, table=path)
    with caplog.at_level(logging.WARNING):
        data = image_folder(folder, table=path, unlabelled="drop")
    assert rows_of(data) == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    assert data.table["image"].values.tolist() == rows_of(data)
    np.testing.assert_array_equal(data.factors["radius"], TABLE["radius"].drop([3, 7]))
    assert "2 pictures without a row are dropped: '003.png', '007.png'" in caplog.text


def test_rows_without_a_picture_are_listed(folder, caplog):
    (folder / "005.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(image_folder(folder, table=write(folder, TABLE))) == 11
    assert "1 rows name no picture: '005.png'" in caplog.text


def test_a_picture_has_one_row(folder):
    twice = pd.concat([TABLE, TABLE.iloc[[4]]])
    with pytest.raises(UserError, match=r"several rows for '004\.png'"):
        image_folder(folder, table=write(folder, twice))


def test_names_that_several_folders_share_need_their_folders(tmp_path):
    for kind in ("a", "b"):
        (tmp_path / "p" / kind).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(np.full((3, 3), number, np.uint8)).save(tmp_path / "p" / kind / f"{number}.png")
    path = tmp_path / "l.csv"
    pd.DataFrame({"file": ["0.png", "1.png"], "w": [0.5, 0.25]}).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"which several share: '0\.png', '1\.png'; name their folders too"):
        image_folder(tmp_path / "p", table=path)
    full = {"file": ["a/0.png", "b/1.png", "b/0.png", "a/1.png"], "w": [0.1, 0.2, 0.3, 0.4]}
    pd.DataFrame(full).to_csv(path, index=False)
    factors = image_folder(tmp_path / "p", table=path).factors
    assert factors["w"].values.tolist() == [0.1, 0.4, 0.3, 0.2]
    assert factors["label"].attrs["values"] == ["a", "b"]


def test_parts_keep_their_rows(folder):
    data = image_folder(folder, table=write(folder, TABLE), size=6, seed=2)
    assert data.files.tolist() == [NAMES[row] for row in rows_of(data)]
    kept, apart = data.split(0.5)
    for part in (kept, apart):
        np.testing.assert_array_equal(part.factors["radius"], TABLE["radius"][rows_of(part)])
        assert part.files.tolist() == [NAMES[row] for row in rows_of(part)]


def test_faults_end_in_one_line(folder):
    top = folder.parent
    (top / "empty.csv").write_text("")
    (top / "bytes.csv").write_bytes(bytes(range(128, 256)) * 9)
    (top / "ragged.csv").write_text("picture,w\n000.png,1\n001.png,1,2,3\n")
    for name, match in (
        ("none.csv", "no CSV table"),
        ("empty.csv", "cannot be read as CSV table"),
        ("bytes.csv", "cannot be read as CSV"),
        ("ragged.csv", "cannot be read as CSV"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            image_folder(folder, table=top / name)
        assert "\n" not in str(caught.value)


def test_parquet_names_the_package_it_needs(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (folder.parent / "l.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="read by the package pyarrow, which is not installed: pip install pyarrow"):
        image_folder(folder, table=folder.parent / "l.parquet")


def test_parquet_is_read_as_csv_is(folder):
    TABLE.to_parquet(folder.parent / "l.parquet")
    found = image_folder(folder, table=folder.parent / "l.parquet").factors
    assert found.identical(image_folder(folder, table=write(folder, TABLE)).factors)
    typed = TABLE.convert_dtypes().set_index("picture")  # nullable types, and the files' names as the index
    typed.to_parquet(folder.parent / "l.parquet")
    assert found.equals(image_folder(folder, table=folder.parent / "l.parquet").factors)
    (folder.parent / "l.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read as Parquet table"):
        image_folder(folder, table=folder.parent / "l.parquet")


def test_pictures_without_a_label_may_be_kept(folder, caplog):
    """Without a row, or with an empty entry: the level says so, and whole numbers stay as they are written."""
    table = TABLE[["picture", "shape", "count"]].astype({"count": "Int64"})
    table.loc[[1, 4], ["shape", "count"]] = pd.NA
    with caplog.at_level(logging.WARNING):
        data = image_folder(folder, table=write(folder, table.drop(index=[7, 8])), unlabelled="keep")
    assert "2 pictures without a row are kept as 'unlabelled': '007.png', '008.png'" in caplog.text
    assert rows_of(data) == list(range(12))
    shape, count = data.factors["shape"], data.factors["count"]
    assert shape.attrs["values"] == ["long", "round", "unlabelled"]
    without = [1, 4, 7, 8]
    assert np.flatnonzero(shape.values == 2).tolist() == without
    assert np.flatnonzero(np.array(count.attrs["values"])[count.values] == "unlabelled").tolist() == without
    assert set(count.attrs["values"]) == {"4", "5", "6", "unlabelled"}


def test_a_label_in_every_row_is_the_same_whether_others_are_kept_or_not(folder):
    kept, refused = (image_folder(folder, table=write(folder, TABLE), unlabelled=how) for how in ("keep", "refuse"))
    assert kept.factors.identical(refused.factors)
