"""Traversals as files: the frames are those of the traversal, there and back."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from experiments.explorer import animation
from experiments.explorer.animation import gif, mp4, there_and_back
from ppvae import UserError


def frames_of(file: bytes) -> list[np.ndarray]:
    """Frames in RGB, one that is shown for longer as often as its time."""
    frames = ImageSequence.Iterator(Image.open(io.BytesIO(file)))
    found = [(np.asarray(frame.convert("RGB")), frame.info["duration"] // 80) for frame in frames]
    return [frame for frame, times in found for _ in range(times)]


def test_an_animation_ends_where_it_begins():
    frames = np.arange(4)[:, None, None]
    assert there_and_back(frames)[:, 0, 0].tolist() == [0, 1, 2, 3, 2, 1]
    assert there_and_back(frames[:2])[:, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("sides", [(5, 7), (300, 200)])
def test_grey_frames_are_kept_to_the_last_level(sides):
    """Small ones with each pixel as a square."""
    frames = np.random.default_rng(0).integers(0, 256, (5, *sides)).astype(np.uint8)
    found, expected = frames_of(gif(frames)), there_and_back(frames)
    assert len(found) == len(expected) == 8
    factor = found[0].shape[0] // sides[0]
    assert max(found[0].shape[:2]) >= animation.SHORTEST
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[::factor, ::factor], np.repeat(other[..., None], 3, -1))
        np.testing.assert_array_equal(one, np.kron(other, np.ones((factor, factor), np.uint8))[..., None].repeat(3, -1))


def test_a_few_colours_are_kept_and_many_are_near():
    random = np.random.default_rng(0)
    few = random.integers(0, 256, (60, 3)).astype(np.uint8)[random.integers(0, 60, (4, 8, 8))]
    for one, other in zip(frames_of(gif(few)), there_and_back(few), strict=True):
        np.testing.assert_array_equal(one[::32, ::32], other)
    smooth = np.stack(np.meshgrid(np.linspace(0, 255, 4), *[np.linspace(0, 255, 32)] * 2, indexing="ij"), -1)
    smooth = smooth.astype(np.uint8)
    for one, other in zip(frames_of(gif(smooth)), there_and_back(smooth), strict=True):
        assert np.abs(one[::8, ::8].astype(int) - other).mean() < 16


def test_frames_that_are_alike_take_their_time():
    """Of a latent that is not used they all are: Pillow makes one of them."""
    assert len(frames_of(gif(np.full((5, 8, 8), 7, np.uint8)))) == 8


def test_a_gif_repeats_for_ever():
    file = Image.open(io.BytesIO(gif(np.random.default_rng(0).integers(0, 256, (3, 8, 8)).astype(np.uint8))))
    assert file.info["loop"] == 0
    assert file.info["duration"] == 80


FFMPEG = """#!{python}
import pathlib, sys
words, pixels = sys.argv[1:], sys.stdin.buffer.read()
if "{fails}":
    sys.exit("first\\n{fails}")
out = pathlib.Path(words[-1])
out.write_bytes(words[words.index("-s") + 1].encode() + b"|" + pixels)
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """A program of that name that writes the size it was told and the pixels it was given, or fails."""

    def install(fails: str = "") -> None:
        path = tmp_path / "ffmpeg"
        path.write_text(FFMPEG.format(python=sys.executable, fails=fails))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return install


@pytest.mark.parametrize("channels", [(), (3,)])
def test_ffmpeg_is_given_every_frame_in_colour_and_of_even_sides(channels, ffmpeg):
    ffmpeg()
    frames = np.random.default_rng(0).integers(0, 256, (3, 257, 260, *channels)).astype(np.uint8)
    size, _, pixels = mp4(frames).partition(b"|")
    assert size == b"260x258"
    found = np.frombuffer(pixels, np.uint8).reshape(4, 258, 260, 3)
    expected = there_and_back(frames if channels else np.repeat(frames[..., None], 3, -1))
    np.testing.assert_array_equal(found[:, :257], expected)
    np.testing.assert_array_equal(found[:, 257], expected[:, 256])


def test_without_ffmpeg_a_line_says_what_to_install(monkeypatch, ffmpeg):
    ffmpeg(fails="no such encoder")
    with pytest.raises(UserError, match=r"^ffmpeg made no MP4: no such encoder$"):
        mp4(np.zeros((2, 8, 8), np.uint8))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(animation.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="MP4 takes ffmpeg, which is not installed: apt install ffmpeg, or pip install"):
        mp4(np.zeros((2, 8, 8), np.uint8))
