"""Folders that one run has for itself, and what is replaced in one step."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ppvae import UserError
from ppvae.files import claimed, explained, locked, replace_atomically, settled

CLAIM = """
import sys
from pathlib import Path
from ppvae.files import claimed
input()
print(*[claimed(Path(sys.argv[1])).name for _ in range(20)])
"""

LOCK = """
import sys
from pathlib import Path
from ppvae.errors import UserError
from ppvae.files import locked
try:
    with locked(Path(sys.argv[1])):
        print("inside", flush=True)
        if sys.argv[2] == "wait":
            input()
except UserError as error:
    print(error, flush=True)
"""


def folder_of(text):
    def write(temporary):
        temporary.mkdir()
        (temporary / "content").write_text(text)

    return write


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_claimed_folder_is_new(tmp_path):
    assert claimed(tmp_path / "deep" / "run") == tmp_path / "deep" / "run"
    assert [claimed(tmp_path / "deep" / "run").name for _ in range(2)] == ["run_2", "run_3"]
    (tmp_path / "file").write_text("")
    assert claimed(tmp_path / "file").name == "file_2"
    assert all(path.is_dir() for path in (tmp_path / "deep").iterdir())


def test_processes_claim_folders_of_their_own(tmp_path):
    processes = [start(CLAIM, tmp_path / "run") for _ in range(3)]
    names = [name for process in processes for name in process.communicate("\n")[0].split()]
    assert len(names) == len(set(names)) == 60
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_folder_is_locked_against_other_processes_alone(tmp_path):
    folder = tmp_path / "run#1"

    def enter():
        with locked(folder):
            return True

    with locked(folder), ThreadPoolExecutor(1) as pool:
        assert enter()
        assert pool.submit(enter).result()
        said = start(LOCK, folder, "go").communicate()[0]
        assert str(folder) in said
        assert f"process {os.getpid()} " in said
        assert said.count("\n") == 1
    assert start(LOCK, tmp_path / "other", "go").communicate()[0] == "inside\n"


def test_the_lock_ends_with_its_process(tmp_path):
    holder = start(LOCK, tmp_path, "wait")
    assert holder.stdout.readline() == "inside\n"
    with pytest.raises(UserError, match=f"process {holder.pid} on"), locked(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


FORK = """
import os, sys
from pathlib import Path
from ppvae.files import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        os.close(1)
        sys.stdin.read()
        os._exit(0)
"""


def test_a_child_does_not_keep_the_folder_locked(tmp_path):
    """One forked in the midst, as a loader's worker is, may outlive its parent."""
    parent = start(FORK, tmp_path)
    assert parent.wait() == 0
    with locked(tmp_path):
        pass
    parent.communicate()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG])
def test_what_a_user_can_mend_is_one_line(number, tmp_path):
    with pytest.raises(UserError, match=r"run 1 cannot be written: .*; \w+") as caught, explained(tmp_path / "run 1"):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match="Input/output") as caught, explained(tmp_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert not isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    "make", [claimed, lambda path: locked(path).__enter__(), lambda path: replace_atomically(path, folder_of("new"))]
)
def test_folders_under_a_file_are_one_line(make, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run", tmp_path / "file" / "deep" / "run", tmp_path / ("n" * 300)):
        with pytest.raises(UserError, match="cannot be written"):
            make(path)


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "numbers.txt"
    replace_atomically(path, lambda temporary: temporary.write_text("one"))
    assert path.read_text() == "one"

    def broken(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_atomically(path, broken)
    assert path.read_text() == "one"
    assert [entry.name for entry in path.parent.iterdir()] == ["numbers.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_costs_nothing_old(number, tmp_path):
    path = tmp_path / "run"
    replace_atomically(path, folder_of("old"))

    def full(temporary):
        folder_of("half")(temporary)
        raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=f"{path} cannot be written: .*; free some space"):
        replace_atomically(path, full)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert (path / "content").read_text() == "old"


def test_a_folder_does_not_replace_a_file_nor_a_file_a_folder(tmp_path):
    (tmp_path / "file").write_text("old")
    replace_atomically(tmp_path / "folder", folder_of("old"))
    with pytest.raises(UserError, match="a part of the path is a file"):
        replace_atomically(tmp_path / "file", folder_of("new"))
    with pytest.raises(UserError, match="a folder is in its place"):
        replace_atomically(tmp_path / "folder", lambda temporary: temporary.write_text("new"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "content").read_text() == "old"


KILLED = """
import os, signal, sys
from pathlib import Path
from ppvae import files

path, renames = Path(sys.argv[1]), int(sys.argv[2])
rename = os.rename

def counted(*names):
    global renames
    if renames == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    renames -= 1
    rename(*names)

os.rename = counted
def write(temporary):
    temporary.mkdir()
    (temporary / "content").write_text("new")
files.replace_atomically(path, write)
"""


@pytest.mark.parametrize(("renames", "content"), [(0, "old"), (1, "old"), (2, "new"), (3, "new")])
@pytest.mark.parametrize("then", ["read", "written"])
def test_a_kill_between_two_renames_loses_nothing(renames, content, then, tmp_path):
    path = tmp_path / "run#1"
    replace_atomically(path, folder_of("old"))
    start(KILLED, path, renames).communicate()
    assert path.exists() == (renames != 1)
    if then == "read":
        assert settled(path)
        assert (path / "content").read_text() == content
    replace_atomically(tmp_path / "other", folder_of(""))  # whoever writes beside it clears up
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other", "run#1"]
    assert (path / "content").read_text() == content


def test_temporaries_of_living_processes_stay(tmp_path):
    script = KILLED.replace('"new")', '"new"); print(flush=True); input()')
    process = start(script, tmp_path / "run", 9)
    process.stdout.readline()
    (temporary,) = tmp_path.iterdir()
    replace_atomically(tmp_path / "other", folder_of(""))
    host, rest = temporary.name.removeprefix(".run.").split("-", 1)
    elsewhere = tmp_path / f".run.{int(host, 16) ^ 1:08x}-{rest.replace(str(process.pid), '999999999')}"
    elsewhere.mkdir()
    process.communicate("\n")
    assert (tmp_path / "run" / "content").read_text() == "new"
    replace_atomically(tmp_path / "other", folder_of(""))
    assert elsewhere.exists()
    assert not settled(tmp_path / "nothing")


def test_threads_replace_one_folder(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: replace_atomically(tmp_path / "run", folder_of(str(number))), range(40)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert 0 <= int((tmp_path / "run" / "content").read_text()) < 40
