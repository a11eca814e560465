"""Any bytes where a checkpoint should be: one line that names the file, or a checkpoint; nothing is run or written."""

import contextlib
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppvae.errors import UserError
from ppvae.svi.checkpoints import load_checkpoint, save_checkpoint

FUZZ = settings(
    derandomize=True, max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LONG = settings(FUZZ, max_examples=5000)
PIECES = [b"\x00", b"\xff\xff\xff\xff", b"PK\x01\x02", b"PK\x05\x06", b"../", b"\x80\x02c", b"data.pkl"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "checkpoint.pt"
    save_checkpoint(path, {"model": {"weight": torch.arange(6.0)}, "epoch": 3, "seed": 0})
    return path.read_bytes()


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a few pieces replaced, doubled or left out, or its end cut off."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        stop = start + draw(st.sampled_from([0, len(piece), 40]))
        content = content[:start] + piece + content[stop:]
    return content[: draw(st.just(len(content)) | st.integers(0, len(content)))]


def check(folder: Path, content: bytes) -> None:
    path = folder / "checkpoint.pt"
    path.write_bytes(content)
    said = str(path)
    with contextlib.suppress(UserError):
        try:
            assert isinstance(load_checkpoint(path), dict)
        except UserError as error:
            said = str(error)
            raise
    assert str(path) in said
    assert "\n" not in said
    assert list(folder.iterdir()) == [path]


@FUZZ
@given(st.binary(max_size=64))
def test_any_bytes(tmp_path, content):
    check(tmp_path, content)


@FUZZ
@given(st.data())
def test_mutated_checkpoints(tmp_path, sound, data):
    check(tmp_path, data.draw(mutations(sound)))


@pytest.mark.long
@LONG
@given(st.data())
def test_many_mutated_checkpoints(tmp_path, sound, data):
    check(tmp_path, data.draw(mutations(sound) | st.binary(max_size=2000)))
