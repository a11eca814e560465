"""Images streamed from an array: what an index means, how an epoch is shuffled and how well, what memory it takes."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch

from ppvae.datasets import ImageDataset, PixelArray, StoredImages, StreamedImages
from ppvae.datasets import streamed as module
from ppvae.datasets.streamed import read_ahead
from ppvae.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 5), dtype=np.uint8)


class Array(PixelArray):
    """An array in memory that notes which chunks are read."""

    def __init__(self, pixels: np.ndarray, chunk: int = 4) -> None:
        self.path, self.shape, self.dtype, self.chunk = "array", pixels.shape, pixels.dtype, chunk
        self.pixels, self.chunks = pixels, []

    def read(self, rows: np.ndarray) -> np.ndarray:
        assert (np.diff(rows) >= 0).all()
        self.chunks += np.unique(rows // self.chunk).tolist()
        return self.pixels[rows]


def streamed(pixels=PIXELS, chunk=4, **options) -> StreamedImages:
    return StreamedImages(Array(pixels, chunk), **options)


@pytest.fixture(autouse=True)
def looks(monkeypatch) -> None:
    """Four images are looked at when an array is opened."""
    monkeypatch.setattr(module, "_LOOKED_AT", 4)


def windows_of(images: int, monkeypatch) -> None:
    """Windows of so many images of PIXELS' size."""
    monkeypatch.setattr(module, "WINDOW_BYTES", images * PIXELS[0].size)


def shuffled(images: StreamedImages, seed: int = 0) -> tuple[list[int], list[int]]:
    order, windows = images.shuffled(torch.Generator().manual_seed(seed))
    return order.tolist(), windows.tolist()


@pytest.mark.parametrize("piece", [1, 2**25])
@pytest.mark.parametrize("index", [slice(None), slice(30, 3, -7), [5, 3, 3, -1], [], np.arange(40) % 3 == 0, 7])
def test_an_index_means_what_it_means_in_memory(index, piece, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", piece)
    held = StoredImages(torch.from_numpy(PIXELS))
    assert torch.equal(streamed()[index], held[index])
    if not isinstance(index, int):
        part = streamed().subset(index) if len(held.stored(index)) else streamed()
        assert torch.equal(part[1:], (held.subset(index) if len(held.stored(index)) else held)[1:])
        assert torch.equal(part.subset([-1]).stored(), part.stored([-1]))


def test_each_chunk_is_read_once(monkeypatch):
    images = streamed()
    images.array.chunks.clear()
    monkeypatch.setattr(module, "_PIECE", 3 * 4 * PIXELS[0].size)
    images.stored(torch.randperm(40, generator=torch.Generator().manual_seed(0)))
    assert images.array.chunks == list(range(10))


LAYOUTS = {
    "rows and columns": (PIXELS[:, 0], PIXELS[:, :1]),
    "channels last": (np.moveaxis(np.tile(PIXELS, (1, 1, 2, 1)), 1, -1), np.tile(PIXELS, (1, 1, 2, 1))),
    "booleans": (PIXELS > 99, (PIXELS > 99) * np.uint8(255)),
    "floats": (PIXELS / 255, PIXELS),
    "big-endian floats": ((PIXELS / 255).astype(">f4"), PIXELS),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_and_types_are_those_of_arrays_in_memory(name):
    given, expected = LAYOUTS[name]
    images = streamed(given)
    assert np.array_equal(images.stored().numpy(), expected)
    assert images.shape == expected.shape
    assert ImageDataset(images).kind == ("binary" if name == "booleans" else "8-bit")


def test_real_pixels_stay_numbers():
    floats = PIXELS.astype(np.float32) / 777
    assert np.array_equal(streamed(floats, real=True).stored().numpy(), floats)
    dark = np.where(np.arange(40)[:, None, None, None] > 20, PIXELS // 128, PIXELS)
    assert np.array_equal(streamed(dark, real=True).stored().numpy(), dark.astype(np.float32) / 255)
    deep = PIXELS.astype(np.uint16) * 256
    expected = deep.astype(np.float32) / np.float32(65535)
    assert np.array_equal(streamed(deep, real=True).stored().numpy(), expected)
    assert ImageDataset(streamed(deep, real=True)).kind == "real"


WRONG = {
    "(40, 60)": PIXELS.reshape(40, 60),
    r"\(40, 5, 5, 5\)": np.zeros((40, 5, 5, 5), np.uint8),
    r"shape \(\): expected images": np.array(3),
    "at least one image": PIXELS[:0],
    "int64": PIXELS.astype(np.int64),
    "uint16: real=true": PIXELS.astype(np.uint16),
    "complex": PIXELS.astype(np.complex64),
    "zeros and ones": PIXELS // 128,
    r"expected \[0, 1\]": PIXELS * 1.0,
    "NaN": np.where(PIXELS > 200, np.nan, 0.5),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_holds_no_images_is_refused_in_one_line(said):
    with pytest.raises(UserError, match=said) as caught:
        streamed(WRONG[said])
    assert "\n" not in str(caught.value)


def test_pixels_out_of_range_are_named_when_they_are_read():
    late = PIXELS / 255
    late[30] = 2
    images = streamed(late)
    assert images.stored([29]).shape == (1, 3, 4, 5)
    with pytest.raises(UserError, match=r"'array': float images in 0.*2: expected"):
        images.stored()


def test_an_epoch_holds_each_image_once_in_an_order_of_its_seed(monkeypatch):
    windows_of(8, monkeypatch)
    for images in (streamed(), streamed(chunk=1), streamed(chunk=7), streamed().subset(np.arange(40)[::-3].copy())):
        order, windows = shuffled(images)
        assert sorted(order) == list(range(len(images)))
        assert (order, windows) == shuffled(images) != shuffled(images, seed=1)
        assert windows == sorted(windows)
        assert set(windows) == set(range(windows[-1] + 1))


def test_a_windows_chunks_are_in_no_other_window(monkeypatch):
    windows_of(10, monkeypatch)
    order, windows = shuffled(images := streamed(chunk=3))
    homes = {}
    for place, window in zip(order, windows, strict=True):
        assert homes.setdefault(place // 3, window) == window
    assert max(windows.count(window) for window in set(windows)) <= images.window + 3


def test_one_image_a_chunk_is_a_uniform_permutation(monkeypatch):
    """All 24 orders of four images, in windows of one, two or four: 2 400 draws, χ² with 23 degrees of freedom."""
    orders = list(itertools.permutations(range(4)))
    for window in (1, 2, 4):
        windows_of(window, monkeypatch)
        images, generator = streamed(PIXELS[:4], chunk=1), torch.Generator().manual_seed(window)
        drawn = [tuple(images.shuffled(generator)[0].tolist()) for _ in range(2400)]
        counts = np.array([drawn.count(order) for order in orders])
        assert ((counts - 100) ** 2 / 100).sum() < 49.7  # false alarm: 1 in 1 000


def test_how_well_chunks_mix_is_what_is_said(monkeypatch):
    """Ten chunks of four in windows of two: neighbours share a window, of other chunks' images one in nine does; and
    each image is as likely at each place."""
    windows_of(8, monkeypatch)
    images, generator, draws = streamed(), torch.Generator().manual_seed(0), 3000
    windows, places = np.empty((draws, 40), int), np.empty((draws, 40), int)
    for draw in range(draws):
        order, of_place = images.shuffled(generator)
        windows[draw, order], places[draw, order] = of_place, np.arange(40)
    assert (windows[:, 0] == windows[:, 3]).all()
    found = (windows[:, :1] == windows[:, 4:]).mean()
    assert found == pytest.approx(1 / 9, abs=4 * math.sqrt(1 / 9 * 8 / 9 / draws))
    counts = np.stack([np.bincount(column, minlength=40) for column in places.T])
    assert ((counts - draws / 40) ** 2 / (draws / 40)).sum(1).mean() == pytest.approx(
        39, abs=4 * math.sqrt(78 / 40) * 2
    )


def test_images_are_read_a_window_ahead_each_chunk_once_an_epoch(monkeypatch):
    windows_of(8, monkeypatch)
    images = streamed()
    order, windows = images.shuffled(torch.Generator().manual_seed(0))
    images.array.chunks.clear()
    found = list(read_ahead(images, order.view(10, 4), windows.view(10, 4)[:, 0]))
    assert sorted(images.array.chunks) == list(range(10))
    assert torch.equal(torch.cat(found), torch.from_numpy(PIXELS)[order])


@pytest.mark.parametrize("drop_last", [True, False])
def test_a_datasets_batches_are_read_ahead_too(drop_last, monkeypatch):
    windows_of(8, monkeypatch)
    data = ImageDataset(images := streamed(), {"number": np.arange(40)}, inputs=["number"])
    images.array.chunks.clear()
    batches = list(data.batches(6, seed=3, drop_last=drop_last))
    assert [len(numbers) for _, numbers in batches] == [6] * 6 + [4] * (not drop_last)
    numbers = torch.cat([numbers for _, numbers in batches])
    assert len(numbers.unique()) == len(numbers)
    for pixels, places in batches:
        assert torch.equal(pixels, torch.from_numpy(PIXELS)[places] / 255)
    assert len(images.array.chunks) <= 10 + 5 * 2  # and again for batches from two windows
    again = [numbers for _, numbers in data.batches(6, seed=3)]
    assert torch.equal(torch.cat(again), numbers[:36])
    assert torch.equal(torch.cat([pixels for pixels, _ in data.batches(8)]), torch.from_numpy(PIXELS) / 255)


def test_an_epoch_that_is_left_reads_one_window_more_at_most(monkeypatch):
    windows_of(8, monkeypatch)
    images = streamed()
    order, windows = images.shuffled(torch.Generator().manual_seed(0))
    images.array.chunks.clear()
    stream = read_ahead(images, order.view(10, 4), windows.view(10, 4)[:, 0])
    next(stream)
    stream.close()
    assert len(images.array.chunks) == 4


def test_a_file_that_breaks_in_the_thread_is_the_readers_line(monkeypatch):
    windows_of(8, monkeypatch)
    late = PIXELS / 255
    late[20] = np.inf
    images = streamed(late)
    order, windows = images.shuffled(torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="'array': images hold 60 NaN or infinite"):
        list(read_ahead(images, order.view(10, 4), windows.view(10, 4)[:, 0]))


class Endless(Array):
    """Images that are made when they are read, and take no memory before."""

    def __init__(self, images: int) -> None:
        self.path, self.shape, self.dtype, self.chunk = "endless", (images, 3, 16, 16), np.dtype(np.uint8), 16

    def read(self, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to((2 + rows % 250).astype(np.uint8)[:, None, None, None], (len(rows), 3, 16, 16)).copy()


def test_memory_is_bounded_by_windows_whatever_there_is_on_disk(monkeypatch):
    """25 MB of images through windows of 0.4 MB: at most four of them at a time, and the order's numbers."""
    monkeypatch.setattr(module, "WINDOW_BYTES", 2**19)
    monkeypatch.setattr(module, "_PIECE", 2**16)
    images = StreamedImages(Endless(2**15))
    order, windows = images.shuffled(torch.Generator().manual_seed(0))
    tracemalloc.start()
    for _ in read_ahead(images, order.view(-1, 64), windows.view(-1, 64)[:, 0]):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 2**19


def test_few_large_chunks_are_warned_of(monkeypatch, caplog):
    windows_of(30, monkeypatch)
    streamed(chunk=10)
    assert "a chunk holds 10 images" in caplog.text
    caplog.clear()
    streamed(chunk=3)
    streamed(chunk=40)
    assert not caplog.text


def test_all_of_it_in_too_little_memory_is_refused(monkeypatch):
    windows_of(8, monkeypatch)
    monkeypatch.setattr(module, "available_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"40 images of .* take 2\.3 KiB, 1000 bytes of memory are left"):
        streamed().stored()
