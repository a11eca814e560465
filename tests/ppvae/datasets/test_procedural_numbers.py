"""House numbers: labels, colours and numbers of digits are those the table names, and each image is its own."""

import itertools
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2, chi2_contingency
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ppvae.datasets import ImageDataset, house_numbers
from ppvae.errors import UserError

# Strokes of a seven-segment display: rows, then columns, of each segment; and which segments make a digit.
SEGMENTS = {
    "top": (slice(4, 7), slice(8, 20)),
    "middle": (slice(12, 15), slice(8, 20)),
    "bottom": (slice(21, 24), slice(8, 20)),
    "upper left": (slice(4, 15), slice(8, 11)),
    "upper right": (slice(4, 15), slice(17, 20)),
    "lower left": (slice(12, 24), slice(8, 11)),
    "lower right": (slice(12, 24), slice(17, 20)),
}
OFF = {
    0: ["middle"],
    1: ["top", "middle", "bottom", "upper left", "lower left"],
    2: ["upper left", "lower right"],
    3: ["upper left", "lower left"],
    4: ["top", "bottom", "lower left"],
    5: ["upper right", "lower left"],
    6: ["upper right"],
    7: ["middle", "bottom", "upper left", "lower left"],
    8: [],
    9: ["lower left"],
}
BLOCK = np.pad(np.full((20, 12), 255, np.uint8), ((4, 4), (8, 8)))
LUMA = torch.tensor([0.299, 0.587, 0.114])


def seven_segments(label: int) -> np.ndarray:
    """A digit (28, 28), 255 on 0."""
    image = np.zeros((28, 28), np.uint8)
    for name, (rows, columns) in SEGMENTS.items():
        if name not in OFF[label]:
            image[rows, columns] = 255
    return image


@pytest.fixture
def glyphs(tmp_path) -> str:
    """Path of 40 digits, four of each."""
    labels = np.arange(40) % 10
    np.savez(tmp_path / "glyphs.npz", images=np.stack([seven_segments(k) for k in labels]), labels=labels)
    return str(tmp_path / "glyphs.npz")


@pytest.fixture
def blocks(tmp_path) -> str:
    """Path of ten "digits" that are filled rectangles: all ink in the centre of the image."""
    np.savez(tmp_path / "blocks.npz", images=np.stack([BLOCK] * 10), labels=np.arange(10))
    return str(tmp_path / "blocks.npz")


def levels(data: ImageDataset, name: str) -> np.ndarray:
    """What each image's level of a factor stands for."""
    return np.array(data.factors[name].attrs["values"])[data.factors[name].values]


# Each image is its own


def test_a_smaller_size_is_the_beginning_of_a_larger_one(glyphs):
    large = house_numbers(size=300, digits=glyphs)
    for size in (1, 7, 257):
        small = house_numbers(size=size, digits=glyphs)
        assert torch.equal(small.stored(), large.stored()[:size])
        assert small.factors.equals(large.factors.isel(image=slice(size)))


def test_seed_and_split_decide_everything_and_draw_nothing_from_outside(glyphs):
    state = torch.get_rng_state()
    first = house_numbers(size=8, seed=1, digits=glyphs).stored()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global state that must not matter
    assert torch.equal(house_numbers(size=8, seed=1, digits=glyphs).stored(), first)
    for other in (house_numbers(size=8, seed=2, digits=glyphs), house_numbers("test", 8, 1, digits=glyphs)):
        same = (other.stored() == first).flatten(1).float().mean(1)
        assert same.max() < 0.2  # equal by chance, where both are dark


def test_by_default_every_digit_comes_once_and_then_again_elsewhere(glyphs):
    assert len(house_numbers(digits=glyphs)) == 40
    twice = house_numbers(size=80, digits=glyphs)
    labels = twice.factors["label"].values
    assert Counter(labels[:40].tolist()) == dict.fromkeys(range(10), 4)
    np.testing.assert_array_equal(labels[40:], labels[:40])
    assert labels[:40].tolist() != (np.arange(40) % 10).tolist()  # not in the file's order
    images = twice.images[:]
    assert ((images[:40] - images[40:]).abs().mean((1, 2, 3)) > 0.02).all()


# What the table says is what is seen


def test_the_label_is_the_digit_in_the_centre(glyphs):
    """A linear classifier of the ink's pattern reads new images, with other digits beside; chance is 0.1."""

    def read(split: str) -> tuple[np.ndarray, np.ndarray]:
        data = house_numbers(split, 1200, digits=glyphs)
        grey = torch.einsum("nchw,c->nhw", data.images[:], LUMA).flatten(1).numpy()
        sign = np.where(levels(data, "ink") == "lighter", 1, -1)
        return grey * sign[:, None], data.factors["label"].values

    train, test = read("train"), read("test")
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=200)).fit(*train)
    assert reader.score(*test) > 0.85


def test_ink_is_darker_or_lighter_by_a_quarter_or_more(blocks):
    """Centre against corners, distractors away; light that is not even takes a part of the contrast."""
    data = house_numbers(size=400, digits=blocks, distractors=0)
    grey = torch.einsum("nchw,c->nhw", data.images[:], LUMA)
    corners = torch.stack([grey[:, r, c] for r, c in itertools.product((slice(0, 3), slice(-3, None)), repeat=2)])
    contrast = grey[:, 14:18, 14:18].mean((1, 2)) - corners.mean((0, 2, 3))
    lighter = torch.from_numpy(levels(data, "ink") == "lighter")
    assert torch.equal(contrast > 0, lighter)
    assert contrast.abs().min() > 0.15
    assert contrast.abs().max() > 0.5


def test_background_is_the_hue_of_the_wall(blocks):
    """The mean colour of the left and right edges; texture, noise and clipping widen the range, by a fifth here."""
    data = house_numbers(size=600, digits=blocks, distractors=0)
    red, green, blue = data.images[:][..., [0, 1, 2, -3, -2, -1]].mean((2, 3)).T
    hue = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue) / (2 * torch.pi)
    away = (hue - torch.from_numpy(levels(data, "background")) + 0.5) % 1 - 0.5
    assert away.abs().quantile(0.95) < 0.6 / 12


def test_as_many_digits_are_seen_as_the_table_says(glyphs):
    """The same images with and without distractors: they differ at as many sides, and hardly in the centre.

    Of faint ink on a noisy wall this sees 99 in 100.
    """
    with_others = house_numbers(size=400, digits=glyphs)
    alone = house_numbers(size=400, digits=glyphs, distractors=0)
    assert (levels(alone, "digits") == 1).all()
    changed = (with_others.images[:] - alone.images[:]).abs().amax(1)
    sides = torch.stack([changed[..., :10], changed[..., -10:]])
    seen = 1 + (sides > 0.12).sum((2, 3)).ge(8).sum(0)
    assert (seen.numpy() == levels(with_others, "digits")).mean() > 0.99
    assert changed[:, :, 14:18].mean() < 0.02
    for name in ("label", "background", "ink"):
        np.testing.assert_array_equal(with_others.factors[name], alone.factors[name])


@pytest.mark.parametrize("lighter", [0.0, 0.3, 0.5, 1.0])
def test_lighter_digits_come_with_their_probability(glyphs, lighter):
    """Within five standard errors of a binomial; everything else of an image stays."""
    data, usual = (house_numbers(size=900, digits=glyphs, image_size=16, lighter=p) for p in (lighter, 0.5))
    share = float(data.factors["ink"].mean())
    assert abs(share - lighter) <= 5 * (lighter * (1 - lighter) / 900) ** 0.5
    same = (data.factors["ink"] == usual.factors["ink"]).values
    np.testing.assert_array_equal(data.stored()[same].numpy(), usual.stored()[same].numpy())
    for name in ("label", "digits", "background"):
        np.testing.assert_array_equal(data.factors[name].values, usual.factors[name].values)


@pytest.mark.parametrize("distractors", [0.0, 0.6, 1.0])
def test_distractors_come_with_their_probability(glyphs, distractors):
    """Chi-square; the chance of a false alarm is 1e-5."""
    data = house_numbers(size=1500, digits=glyphs, distractors=distractors, image_size=16)
    counts = np.bincount(data.factors["digits"].values, minlength=3)
    expected = 1500 * np.array([1 - distractors, distractors * 2 / 3, distractors / 3])
    assert (counts[expected == 0] == 0).all()
    some = expected > 0
    assert chi2.sf(((counts - expected)[some] ** 2 / expected[some]).sum(), 2) > 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_factors_are_uniform_and_independent(glyphs, seed):
    """Chi-square of each pair and of background and ink alone: 8 tests a seed, each at 1e-5, 2.4e-4 in all."""
    factors = house_numbers(size=2000, seed=seed, digits=glyphs, image_size=16).factors
    for one, other in itertools.combinations(factors.data_vars, 2):
        table = np.zeros((factors[one].attrs["levels"], factors[other].attrs["levels"]))
        np.add.at(table, (factors[one].values, factors[other].values), 1)
        assert chi2_contingency(table, correction=False).pvalue > 1e-5, (one, other)
    for name, count in (("background", 12), ("ink", 2)):
        seen = np.bincount(factors[name].values, minlength=count)
        assert chi2.sf(((seen - 2000 / count) ** 2 / (2000 / count)).sum(), count - 1) > 1e-5


def test_table_has_levels_values_and_units(glyphs):
    data = house_numbers(size=3, seed=4, digits=glyphs)
    expected = {"label": 10, "digits": 3, "background": 12, "ink": 2}
    assert {name: factor.attrs["levels"] for name, factor in data.factors.items()} == expected
    assert data.factors["label"].attrs["values"] == list("0123456789")
    assert data.factors["background"].attrs["units"] == "turn"
    assert all("long_name" in factor.attrs for factor in data.factors.values())
    assert data.factors.attrs["seed"] == 4
    assert data.description == "house_numbers train, 3 images 3×32×32, 8-bit"


@pytest.mark.parametrize("image_size", [16, 33, 64])
def test_images_of_other_sizes_show_the_same(glyphs, image_size):
    data = house_numbers(size=20, digits=glyphs, image_size=image_size)
    usual = house_numbers(size=20, digits=glyphs)
    assert data.image_shape == (3, image_size, image_size)
    assert data.factors.equals(usual.factors)
    small = [torch.nn.functional.adaptive_avg_pool2d(d.images[:], 8) for d in (data, usual)]
    assert (small[0] - small[1]).abs().mean() < 0.03


def test_conversion_arrives(glyphs):
    assert house_numbers(size=2, digits=glyphs, dequantise="uniform").kind == "real"
    assert house_numbers(size=2, digits=glyphs, binarise="static").kind == "binary"


# Where the digits come from


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the format of MNIST's files: magic number, sizes, values."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_both(root: Path) -> None:
    """Train digits 0 to 4, test digits 5 to 9: as MNIST's files and as archives."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split, prefix, labels in (("train", "train", np.arange(5)), ("test", "t10k", np.arange(5, 10))):
        images = np.stack([seven_segments(k) for k in labels])
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
        np.savez(root / f"{split}.npz", images=images, labels=labels)


@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_are_those_of_the_split(tmp_path, split):
    write_both(tmp_path)
    data = house_numbers(split, root=str(tmp_path))
    assert sorted(data.factors["label"].values.tolist()) == list(range(5) if split == "train" else range(5, 10))
    archive = house_numbers(split, digits=str(tmp_path / "{split}.npz"))
    assert torch.equal(archive.stored(), data.stored())
    assert archive.factors.equals(data.factors)


def test_missing_files_end_in_the_command_that_downloads_mnist(tmp_path):
    root = str(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"house_numbers 'test' .*MNIST") as caught:
        house_numbers("test", root=root)
    command = f"ppvae train data=house_numbers data.split=test data.root={root} data.download=true"
    assert f"`{command}`" in str(caught.value)
    assert f"ppvae.datasets.house_numbers('test', root={root!r}, download=True)" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"no \.npz archive at .*train\.npz"):
        house_numbers(digits=str(tmp_path / "{split}.npz"))


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.ones((3, 32, 32), np.uint8) * 9, "labels": np.arange(3)},
        {"images": np.stack([BLOCK] * 3)},
        {"images": np.stack([BLOCK] * 3), "labels": np.arange(9, 12)},
        {"images": np.stack([BLOCK] * 3), "labels": np.arange(-1, 2)},
    ],
    ids=["32 pixels", "no labels", "label 11", "label -1"],
)
def test_other_archives_end_in_one_line(tmp_path, arrays):
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(UserError, match=r"other\.npz.*expected images \(N, 28, 28\) and labels 0 to 9") as caught:
        house_numbers(digits=str(tmp_path / "other.npz"))
    assert "\n" not in str(caught.value)


def test_a_blank_digit_is_named(tmp_path):
    images = np.stack([BLOCK, BLOCK * 0, BLOCK])
    np.savez(tmp_path / "blank.npz", images=images, labels=np.arange(3))
    with pytest.raises(UserError, match=r"blank\.npz': image 1 is blank; leave it out"):
        house_numbers(digits=str(tmp_path / "blank.npz"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"split": "extra"}, "split='extra': expected one of train, test"),
        ({"size": 0}, "size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"image_size": 8}, "image_size=8: expected a whole number of at least 16"),
        ({"distractors": 1.5}, "distractors=1.5: expected a probability"),
        ({"lighter": -0.1}, "lighter=-0.1"),
        ({"lighter": 2}, "lighter=2: expected a probability"),
        ({"distractors": -0.1}, "distractors=-0.1"),
        ({"distractors": float("nan")}, "distractors=nan"),
        ({"binarise": "yes"}, "binarise='yes'"),
    ],
)
def test_mistakes_come_before_anything_is_read(options, match):
    with pytest.raises(UserError, match=match) as caught:
        house_numbers(digits="nowhere.npz", **options)
    assert "\n" not in str(caught.value)
