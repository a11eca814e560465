"""ImageDataset: what goes in comes out, by every kind of index; mistakes end in one line."""

import numpy as np
import pytest
import torch
import xarray as xr

from ppvae.datasets import ImageDataset
from ppvae.datasets.factors import factor
from ppvae.datasets.images import RenderedImages, positions
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(256, (10, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["resident", "lazy"])
def dataset(request: pytest.FixtureRequest, pixels: torch.Tensor) -> ImageDataset:
    images = pixels
    if request.param == "lazy":
        images = RenderedImages(lambda positions: pixels[positions], torch.arange(10), (3, 4, 5))
    return ImageDataset(images, {"digit": factor(np.arange(10) % 3, ["a", "b", "c"], long_name="letter")}, "toy")


EVENS = np.arange(10) % 2 == 0
INDICES = {
    "all": slice(None),
    "slice": slice(2, 5),
    "backwards": slice(None, None, -2),
    "nothing": slice(3, 3),
    "list": [3, 1, -1],
    "bytes": np.array([0, 9], dtype=np.uint8),
    "tensor": torch.tensor([4]),
    "mask": EVENS,
    "tensor mask": torch.from_numpy(EVENS),
    "array mask": xr.DataArray(EVENS, dims="image"),
}


@pytest.mark.parametrize("kind", INDICES)
def test_every_index_reads_the_stored_images(dataset, pixels, kind):
    index = INDICES[kind]
    expected = torch.from_numpy(pixels.numpy()[index if isinstance(index, slice) else np.asarray(index)].copy())
    assert torch.equal(dataset.stored(index), expected)
    assert torch.equal(dataset.images[index], expected.float() / 255)


def test_an_empty_list_reads_no_images(dataset):
    assert dataset.images[[]].shape == (0, 3, 4, 5)


def test_one_integer_gives_one_image_and_iteration_gives_all(dataset, pixels):
    assert torch.equal(dataset.images[-1], pixels[-1].float() / 255)
    assert torch.equal(torch.stack(list(dataset.images)), dataset.images[:])
    np.testing.assert_array_equal(np.asarray(dataset.images), dataset.images[:].numpy())


@pytest.mark.parametrize("index", [10, [0, -11], [0.5], [[1, 2]], [True, False]], ids=str)
def test_index_outside_or_of_the_wrong_kind(dataset, index):
    with pytest.raises(IndexError, match="index"):
        dataset.images[index]


def test_positions_count_from_the_start():
    assert positions([-1, 0, -5], 5).tolist() == [4, 0, 0]
    assert positions(slice(None, None, -2), 5).tolist() == [4, 2, 0]
    assert positions([False, True, True, False, True], 5).tolist() == [1, 2, 4]


def test_a_selection_of_all_images_is_all_of_them(pixels):
    """In an order drawn by the seed; one more is refused."""
    numbers = {seed: Selection(size=len(pixels), seed=seed).dataset(pixels, None, "set") for seed in (0, 1)}
    orders = [data.to_xarray()["image"].values.tolist() for data in numbers.values()]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(len(pixels)))
    assert orders[0] != orders[1]
    with pytest.raises(UserError, match="is more than the"):
        Selection(size=len(pixels) + 1).dataset(pixels, None, "set")


def test_sizes_and_repr(dataset):
    assert len(dataset) == len(dataset.images) == 10
    assert dataset.images.shape == (10, 3, 4, 5)
    assert dataset.image_shape == (3, 4, 5)
    assert "10 images 3×4×5" in repr(dataset)
    assert "digit 3" in repr(dataset)


def test_subset_of_a_subset_keeps_factors_and_image_numbers(dataset, pixels):
    part = dataset.subset([8, 2, 5]).subset(slice(1, None))
    assert torch.equal(part.stored(), pixels[[2, 5]])
    assert part.factors["digit"].values.tolist() == [2, 2]
    assert part.factors["digit"].attrs["levels"] == 3
    assert part.factors["image"].values.tolist() == [2, 5]
    assert dataset.subset(dataset.factors["digit"] == 1).factors["image"].values.tolist() == [1, 4, 7]


def test_to_xarray_is_self_describing(dataset, pixels):
    table = dataset.to_xarray(slice(2, 6))
    assert table["images"].dims == ("image", "channel", "row", "column")
    assert table["images"].dtype == np.float32
    np.testing.assert_array_equal(table["images"], pixels[2:6].numpy() / np.float32(255))
    assert table["digit"].values.tolist() == [2, 0, 1, 2]
    assert table["image"].values.tolist() == [2, 3, 4, 5]
    assert table["channel"].values.tolist() == ["red", "green", "blue"]
    assert table.attrs["title"] == "toy"
    assert table["digit"].attrs == {"levels": 3, "values": ["a", "b", "c"], "long_name": "letter"}
    assert table["images"].attrs["units"] == "1"


def test_batches_in_order_are_the_images(dataset):
    assert torch.equal(torch.cat(list(dataset.batches(4, drop_last=False))), dataset.images[:])
    assert [len(batch) for batch in dataset.batches(4)] == [4, 4]


def test_shuffled_batches_are_a_permutation_by_seed(dataset):
    first, again, other = (torch.cat(list(dataset.batches(5, seed=seed))) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    sums = sorted(first.sum((1, 2, 3)).tolist())
    assert sums == sorted(dataset.images[:].sum((1, 2, 3)).tolist())


def test_batches_leave_the_global_generator_alone(dataset):
    before = torch.get_rng_state()
    list(dataset.batches(5, seed=1))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("size", "match"), [(0, "at least 1"), (2.0, "whole"), (True, "whole"), (11, "drop_last=False")]
)
def test_bad_batch_sizes_fail_at_the_call(dataset, size, match):
    with pytest.raises(UserError, match=match):
        dataset.batches(size)


def test_bytes_are_kept_without_copying():
    array = np.full((2, 1, 3, 3), 7, dtype=np.uint8)
    assert ImageDataset(array).stored().data_ptr() == array.ctypes.data


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_rounded_to_the_nearest_grey_level(dtype):
    array = np.random.default_rng(0).random((3, 1, 8, 8)).astype(dtype)
    dataset = ImageDataset(array)
    assert dataset.factors is None
    assert np.abs(dataset.images[:].numpy() - array.astype(np.float64)).max() <= 1 / 510 + 1e-6


def test_grey_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(ImageDataset(levels / 255).stored(), levels)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (torch.full((2, 1, 3, 3), float("nan")), "18 NaN"),
        (np.full((2, 1, 3, 3), np.inf), "infinite"),
        (np.full((2, 1, 3, 3), 1e300), "infinite"),
        (torch.full((2, 1, 3, 3), 255.0), r"255\.\.255: expected \[0, 1\]"),
        (torch.full((2, 1, 3, 3), -0.1), r"-0\.1"),
        (torch.zeros(2, 3, 3), r"images\[:, None\]"),
        (torch.zeros(2, 3), "four axes"),
        (np.zeros((0, 1, 3, 3)), "empty"),
        (np.zeros((2, 1, 3, 3), dtype=np.int64), "int64"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.bool), "bool"),
        (np.array(["a"]), "dtype"),
        (np.ones((2, 1, 3, 3), dtype=np.uint8), "multiply binary images by 255"),
        (np.zeros((2, 32, 32, 3), dtype=np.uint8), "moveaxis"),
    ],
)
def test_bad_images_end_in_one_line(images, match):
    with pytest.raises(UserError, match=match) as caught:
        ImageDataset(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factors", "match"),
    [
        ({"digit": np.arange(9)}, r"shape \(9,\): expected \(10,\)"),
        ({"digit": np.zeros((10, 2), dtype=int)}, "one level an image"),
        ({"digit": np.full(10, np.nan)}, "no finite value for 10 of 10 images"),
        ({"digit": np.zeros(10, dtype=complex)}, "complex128"),
        ({"digit": np.arange(10) - 1}, "holds -1"),
        ({"digit": factor(np.arange(10), ["a", "b"])}, "levels=2"),
        ({"images": np.arange(10)}, "rename"),
        (np.arange(10), "ndarray"),
        (xr.Dataset(coords={"image": np.arange(9)}), "9 images"),
        (xr.Dataset({"digit": ("image", np.arange(9))}), "9 images"),
    ],
)
def test_factors_that_do_not_fit(pixels, factors, match):
    with pytest.raises(UserError, match=match) as caught:
        ImageDataset(pixels, factors)
    assert "\n" not in str(caught.value)


def test_plain_labels_become_factors(pixels):
    labels = ImageDataset(pixels, {"label": torch.arange(10) // 5}).factors["label"]
    assert labels.attrs == {"levels": 2, "values": [0, 1]}


def test_empty_subset(dataset):
    with pytest.raises(UserError, match="at least one"):
        dataset.subset([])
