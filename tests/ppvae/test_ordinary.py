"""Only ordinary files are opened, without waiting, and memory is asked for before it is taken."""

import os
import resource
import subprocess
import sys

import pytest

from ppvae.ordinary import available_memory, check_memory, open_ordinary, readable_size


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


def test_a_limit_of_the_process_counts():
    assert 0 < available_memory() < 2**50
    limited = (
        "import resource; from ppvae.ordinary import available_memory, _of_process; "
        f"resource.setrlimit(resource.RLIMIT_AS, (2**34, {resource.RLIM_INFINITY})); print(_of_process())"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True)
    assert 2**33 < int(done.stdout) < 2**34
    with pytest.raises(MemoryError, match="images needs 1024 PiB of memory"):
        check_memory("images", 2**60)
    check_memory("images", 1)


SIZES = {0: "0 bytes", 1023: "1023 bytes", 1536: "1.5 KiB", 2**31: "2.0 GiB", 2**60: "1024 PiB"}


@pytest.mark.parametrize(("count", "text"), SIZES.items())
def test_sizes_are_readable(count, text):
    assert readable_size(count) == text
