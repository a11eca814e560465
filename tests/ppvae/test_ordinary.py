"""Only ordinary files are opened, without waiting."""

import os

import pytest

from ppvae.ordinary import open_ordinary


def test_an_ordinary_file_is_read_whole(tmp_path):
    (tmp_path / "x").write_bytes(b"some bytes")
    (tmp_path / "link").symlink_to("x")
    for name in ("x", "link"):
        with open_ordinary(tmp_path / name, most=10) as file:
            assert file.read() == b"some bytes"
    with pytest.raises(OSError, match="it has 10 bytes, expected at most 9 bytes"):
        open_ordinary(tmp_path / "x", most=9)


def test_what_is_no_ordinary_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, kind in (("fifo", "a FIFO"), ("device", "a device"), (".", "a folder")):
        with pytest.raises(OSError, match=f"it is {kind}, expected an ordinary file"):
            open_ordinary(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_ordinary(tmp_path / "nothing")
