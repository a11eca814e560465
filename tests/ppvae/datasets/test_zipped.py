"""Pictures in a .zip archive are those of the folder that was packed; what is passed over is said."""

import logging
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ppvae.datasets import image_folder
from ppvae.errors import UserError


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(12):
        path = tmp_path / "shells" / ("cone", "snail")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((5, 7), 20 * number, np.uint8)).save(path)
    return tmp_path / "shells"


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_archive_is_the_folder_it_was_made_of(tmp_path, folder, wrapped):
    root, base = (tmp_path, "shells") if wrapped else (folder, None)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", root, base)
    packed, loose = image_folder(archive), image_folder(folder)
    assert torch.equal(packed.stored(), loose.stored())
    assert packed.factors.identical(loose.factors)
    assert packed.files.tolist() == loose.files.tolist()
    assert packed.files[0] == "cone/0.png"


def test_members_are_read_by_many_threads(tmp_path, folder):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    lazy = image_folder(archive, resident=False)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: int(lazy.stored([number]).max()), list(range(12)) * 20))
    assert found == lazy.stored().amax((1, 2, 3)).tolist() * 20


def test_an_archive_written_anew_is_read_anew(tmp_path, folder):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    assert int(image_folder(archive).stored([0]).max()) == 0
    Image.fromarray(np.full((5, 7), 99, np.uint8)).save(folder / "cone" / "0.png")
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    assert int(image_folder(archive).stored([0]).max()) == 99


def test_what_lies_beside_pictures_is_said(folder, caplog):
    (folder / "cone" / "x.jp2").write_bytes(b"")
    (folder / "cone" / "._0.png").write_bytes(b"no picture")
    (folder / "cone" / "notes.txt").write_text("none either")
    with caplog.at_level(logging.WARNING):
        assert len(image_folder(folder)) == 12
    assert "2 files are passed over, as no such pictures are read: 'cone/._0.png', 'cone/x.jp2'" in caplog.text
    caplog.clear()
    Image.new("L", (7, 5)).save(folder / "top.png")
    with caplog.at_level(logging.WARNING):
        assert len(image_folder(folder)) == 1
    assert "'cone', 'snail'" in caplog.text


def test_faults_end_in_one_line(tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as archive:
        archive.writestr("a/x.png", b"no picture")
    for name, match in (
        ("text.zip", "cannot be read as a .zip archive.*unpack it and give the folder"),
        ("empty.zip", "no images"),
        ("broken.zip", r"broken\.zip/a/x\.png' cannot be read as an image"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            image_folder(tmp_path / name)
        assert "\n" not in str(caught.value)
