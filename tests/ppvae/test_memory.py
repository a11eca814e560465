"""Memory is asked for before it is taken, and what an allocator says is known."""

import resource
import subprocess
import sys

import pytest
import torch

from ppvae import memory
from ppvae.memory import available_memory, check_memory, is_out_of_memory, readable_size


def test_a_limit_of_the_process_counts():
    assert 0 < available_memory() < 2**50
    limited = (
        "import resource; from ppvae.memory import available_memory, _of_process; "
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


@pytest.mark.parametrize(
    "names", [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")]
)
def test_a_control_group_counts_with_the_pages_that_it_can_drop(names, tmp_path, monkeypatch):
    for name, value in zip(names, (5000, 4000), strict=True):
        (tmp_path / name).write_text(f"{value}\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 700\n")
    monkeypatch.setattr(memory, "CONTAINERS", [(tmp_path / "none", *names), (tmp_path, *names)])
    assert available_memory() == 1700
    (tmp_path / names[0]).write_text("max\n")
    assert available_memory() > 10**7


def test_an_allocators_words_are_known():
    assert all(map(is_out_of_memory, (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"))))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
