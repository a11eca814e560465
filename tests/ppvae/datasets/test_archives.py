"""Static binarised MNIST and NumPy archives: what was written is read, nothing is unpickled, faults are one line."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppvae.datasets import binarised_mnist, image_folder, npz
from ppvae.errors import UserError

RANDOM = np.random.default_rng(0)
BITS = RANDOM.integers(0, 2, (20, 28, 28), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (12, 6, 5), dtype=np.uint8)
REAL = Path(__file__).parents[4] / "shared" / "data" / "binarized_mnist" / "test.npz"
LABELS = np.arange(12) % 3 + 4


def amat(bits: np.ndarray, end: str = "\n") -> str:
    """One image a line: 784 digits with spaces between them."""
    return "".join(" ".join(map(str, image.ravel())) + end for image in bits)


@pytest.fixture
def few_rows(monkeypatch) -> None:
    monkeypatch.setattr("ppvae.datasets.static_mnist._ROWS", {"train": 20, "valid": 5, "test": 5})


# Static binarised MNIST


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"], ids=["newline", "space", "carriage return"])
def test_amat_rows_are_images(tmp_path, end):
    (tmp_path / "binarized_mnist_train.amat").write_text(amat(BITS, end))
    (tmp_path / "binarized_mnist_valid.amat").write_text(amat(BITS[:5], end))
    data = binarised_mnist(root=str(tmp_path))
    np.testing.assert_array_equal(data.stored()[:, 0].numpy(), BITS * np.uint8(255))
    assert data.kind == "binary"
    assert data.description == "static binarised mnist train, 20 images 1×28×28, binary"
    assert len(binarised_mnist("valid", root=str(tmp_path))) == 5
    part = binarised_mnist(root=str(tmp_path), size=4, seed=1)
    rows = part.to_xarray()["image"].values
    assert len(set(rows.tolist())) == 4
    np.testing.assert_array_equal(part.stored()[:, 0].numpy(), BITS[rows] * np.uint8(255))


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize(
    ("text", "match"),
    [
        (amat(BITS[:19]), "14896 pixels, expected 20 rows of 784"),
        (amat(BITS)[:-3], "15679 pixels"),
        (amat(BITS).replace("1", "2", 1), "more than 0, 1"),
        ("<html>not found</html>", "more than 0, 1"),
        ("", "0 pixels"),
    ],
    ids=["a row short", "cut off", "a two", "a page", "empty"],
)
def test_other_texts_end_in_one_line(tmp_path, text, match):
    path = tmp_path / "binarized_mnist_train.amat"
    path.write_text(text)
    with pytest.raises(UserError, match=match) as caught:
        binarised_mnist(root=str(tmp_path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("download", [False, True])
def test_a_missing_file_names_what_to_fetch(tmp_path, download):
    with pytest.raises(UserError, match=r"fetch binarized_mnist_train\.amat.*Larochelle") as caught:
        binarised_mnist("test", root=str(tmp_path), download=download)
    assert str(tmp_path / "binarized_mnist_test.amat") in str(caught.value)
    assert "http" not in str(caught.value)


def test_unknown_split():
    with pytest.raises(UserError, match="train, valid, test"):
        binarised_mnist("validation")


@pytest.mark.skipif(not REAL.is_file(), reason=f"static binarised MNIST is not at {REAL}")
def test_the_published_test_set(tmp_path):
    """The text of 10 000 published images gives these images."""
    bits = np.load(REAL)["images"]
    text = np.full((len(bits), 2 * 784), ord(" "), dtype=np.uint8)
    text[:, ::2] = bits.reshape(len(bits), 784) + ord("0")
    text[:, -1] = ord("\n")
    text.tofile(tmp_path / "binarized_mnist_test.amat")
    data = binarised_mnist("test", root=str(tmp_path))
    np.testing.assert_array_equal(data.stored()[:, 0].numpy(), bits * np.uint8(255))


# NumPy archives


def written(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    "images",
    [
        GREY,
        GREY[..., None],
        GREY[:, None],
        np.repeat(GREY[:, None], 3, 1),
        np.repeat(GREY[..., None], 3, -1),
        GREY[:, None] / 255,
    ],
    ids=["NHW", "NHW1", "N1HW", "N3HW", "NHW3", "float"],
)
def test_layouts(tmp_path, images):
    data = npz(written(tmp_path / "shells.npz", images=images))
    channels = 3 if 3 in images.shape else 1
    assert data.image_shape == (channels, 6, 5)
    for channel in range(channels):
        np.testing.assert_array_equal(data.stored()[:, channel].numpy(), GREY)
    assert data.factors is None
    assert (data.name, data.kind) == ("shells", "8-bit")


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_zeros_and_ones_are_binary(tmp_path, dtype):
    data = npz(written(tmp_path / "b.npz", images=BITS.astype(dtype)))
    assert data.kind == "binary"
    np.testing.assert_array_equal(data.stored()[:, 0].numpy(), BITS * np.uint8(255))


def test_integers_are_factors(tmp_path):
    path = written(
        tmp_path / "f.npz",
        images=GREY,
        labels=LABELS.astype(np.uint8),
        drawer=np.arange(12) // 6 - 1,
        names=np.array(["a", "b"]),
        weights=np.linspace(0, 1, 12),
        counts=np.arange(5),
    )
    factors = npz(path).factors
    assert sorted(factors.data_vars) == ["drawer", "label", "weights"]
    assert factors["label"].attrs["values"] == [4, 5, 6]
    np.testing.assert_array_equal(factors["label"], LABELS - 4)
    np.testing.assert_array_equal(factors["weights"], np.linspace(0, 1, 12))
    assert "levels" not in factors["weights"].attrs
    assert factors["drawer"].attrs["values"] == [-1, 0]
    renamed = npz(path, labels="drawer").factors
    assert renamed["label"].attrs["values"] == [-1, 0]
    assert renamed["labels"].attrs["values"] == [4, 5, 6]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (LABELS[:, None], [4, 5, 6]),
        (LABELS.astype(np.float32), [4.0, 5.0, 6.0]),
        (LABELS > 4, [False, True]),
        (np.array(["ant", "bee", "cat"])[LABELS - 4], ["ant", "bee", "cat"]),
        (np.array([b"ant", b"bee", b"cat"])[LABELS - 4], ["ant", "bee", "cat"]),
    ],
    ids=["(N, 1)", "whole floats", "booleans", "text", "bytes"],
)
def test_labels_of_any_kind_are_levels(tmp_path, labels, values):
    found = npz(written(tmp_path / "k.npz", images=GREY, y=labels), labels="y").factors["label"]
    assert found.attrs["values"] == values
    np.testing.assert_array_equal(found, np.unique(labels, return_inverse=True)[1].ravel())


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (LABELS[:7, None], r"has shape \(7, 1\): expected \(12,\)"),
        (LABELS[:11], r"has shape \(11,\): expected \(12,\)"),
        (np.eye(12), r"has shape \(12, 12\): expected \(12,\)"),
        (np.where(LABELS > 4, LABELS, np.nan), "no finite value for 4 of 12 images"),
        (LABELS * 1j, "complex128: expected numbers, text or booleans"),
    ],
    ids=["(N, 1), short", "one short", "one-hot", "NaN", "complex"],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, match):
    for name in ("y", "labels"):
        with pytest.raises(UserError, match=match) as caught:
            npz(written(tmp_path / "r.npz", images=GREY, **{name: labels}), labels=name)
        assert f"labels={name!r}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_arrays_that_are_no_factor_are_said(tmp_path, caplog):
    names = np.array([f"shell {number}" for number in range(12)])
    others = {"short": np.arange(5), "names": names, "gap": np.full(12, np.inf)}
    path = written(tmp_path / "s.npz", images=GREY, labels=LABELS, **others)
    with caplog.at_level(logging.WARNING):
        assert list(npz(path).factors) == ["label"]
    assert "not used: 'short' is int64 (5,), expected numbers, text or booleans (12,)" in caplog.text
    assert "not used: factor 'names' names 12 of 12 images apart" in caplog.text
    assert "not used: factor 'gap' has no finite value for 12 of 12 images" in caplog.text


ELEMENTS = {
    np.int64: st.integers(-9, 9),
    np.float64: st.floats(-4, 4) | st.integers(-3, 3).map(float) | st.just(np.nan),
    np.bool_: st.booleans(),
    np.str_: st.text("ab é", max_size=2),
}


@st.composite
def labels_of_twelve(draw: st.DrawFn) -> np.ndarray:
    """Of one kind, three different ones or up to twelve."""
    kind, several = draw(st.sampled_from(list(ELEMENTS))), draw(st.sampled_from([3, 12]))
    return np.array(draw(st.lists(ELEMENTS[kind], min_size=several, max_size=several)) * (12 // several), dtype=kind)


@given(labels_of_twelve(), st.booleans())
@settings(derandomize=True, max_examples=100, deadline=None)
def test_labels_are_what_was_given_or_refused(values, column):
    """Whatever the labels: every image has the value that was given for it, or there is one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder, "h.npz"), images=GREY, labels=values[:, None] if column else values)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            with pytest.raises(UserError, match="no finite value"):
                npz(path)
            return
        found = npz(path).factors["label"]
    told = np.array(found.attrs["values"])[found] if "levels" in found.attrs else found.values
    np.testing.assert_array_equal(told, values)


def test_real_pixels_are_kept(tmp_path):
    """Floats to the last bit and 16 bits to the last one; without `real` the ones are rounded, the others refused."""
    floats = RANDOM.random((12, 6, 5)).astype(np.float32)
    data = npz(written(tmp_path / "d.npz", images=floats), real=True)
    assert data.kind == "real"
    np.testing.assert_array_equal(data.observed()[:, 0].numpy(), floats)
    np.testing.assert_array_equal(data.subset([3, 1]).resident().images[:][:, 0].numpy(), floats[[3, 1]])
    np.testing.assert_allclose(npz(tmp_path / "d.npz").images[:][:, 0].numpy(), floats, atol=0.5 / 255 + 1e-6)
    deep = RANDOM.integers(0, 2**16, (12, 6, 5), dtype=np.uint16)
    path = written(tmp_path / "e.npz", images=deep)
    np.testing.assert_array_equal((npz(path, real=True).stored()[:, 0].numpy() * 65535).round(), deep)
    with pytest.raises(UserError, match="uint16: real=true keeps"):
        npz(path)
    with pytest.raises(UserError, match="dequantise='uniform' of real numbers"):
        npz(path, real=True, dequantise="uniform")


def test_images_fit_as_pictures_do(tmp_path):
    """Each image as the file of it would be, border and name included."""
    rectangles = RANDOM.integers(0, 256, (12, 6, 10, 3), dtype=np.uint8)
    path = written(tmp_path / "n.npz", images=rectangles)
    (tmp_path / "n").mkdir()
    for number, image in enumerate(rectangles):
        Image.fromarray(image).save(tmp_path / "n" / f"{number:02}.png")
    assert npz(path).image_shape == (3, 6, 10)
    for fit in ("crop", "pad", "stretch"):
        options = {"image_size": [4, 4], "fit": fit, "background": "#ff8000"}
        found, folder = npz(path, **options), image_folder(tmp_path / "n", **options)
        assert torch.equal(found.stored(), folder.stored())
        assert found.name.split(", ")[1:] == [
            name for name in folder.name.split(", ")[1:] if not name.startswith("on ")
        ]
        real = npz(written(tmp_path / "r.npz", images=rectangles / 255), real=True, **options)
        np.testing.assert_allclose(real.stored() * 255, found.stored(), atol=1.1)  # bytes are rounded twice
    assert npz(path, image_size=[3, 5]).image_shape == (3, 3, 5)
    for options, match in (
        ({"image_size": 4}, "6 × 10 pixels.* 4 × 4 is another shape.*fit=crop, pad or stretch"),
        ({"fit": "pad"}, "fit=pad and no image_size"),
        ({"image_size": 4, "fit": "squeeze"}, "fit='squeeze'"),
        ({"background": "whitish"}, "expected a colour"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            npz(path, **options)
        assert "\n" not in str(caught.value)


def test_options_arrive(tmp_path):
    path = written(tmp_path / "o.npz", pictures=GREY, labels=LABELS)
    data = npz(path, images="pictures", binarise="static", size=7, seed=3)
    rows = data.factors["image"].values
    assert len(set(rows.tolist())) == 7
    np.testing.assert_array_equal(data.observed()[:, 0].numpy(), GREY[rows] > 127)
    np.testing.assert_array_equal(data.factors["label"], LABELS[rows] - 4)


class Trap:
    """Whoever unpickles this is caught."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_nothing_is_unpickled(tmp_path):
    trap = np.empty(12, dtype=object)
    trap[:] = [Trap()] * 12
    path = written(tmp_path / "t.npz", images=GREY, labels=trap)
    with pytest.raises(UserError, match="labels='labels' is pickled, which is never read"):
        npz(path)
    assert npz(written(tmp_path / "u.npz", images=GREY, others=trap)).factors is None
    with pytest.raises(UserError, match="no array images='labels'"):
        npz(path, images="labels")


def test_faults_end_in_one_line(tmp_path):
    whole = written(tmp_path / "w.npz", images=GREY, labels=LABELS)
    (tmp_path / "half.npz").write_bytes(whole.read_bytes()[:300])
    (tmp_path / "text.npz").write_text("not an archive")
    np.save(tmp_path / "bare.npy", GREY)
    cases = [
        ((tmp_path / "none.npz",), {}, "no .npz archive"),
        ((tmp_path / "half.npz",), {}, "cannot be read"),
        ((tmp_path / "text.npz",), {}, "cannot be read"),
        ((tmp_path / "bare.npy",), {}, "cannot be read"),
        ((tmp_path,), {}, "cannot be read"),
        ((whole,), {"images": "imgs"}, "images, labels"),
        ((whole,), {"labels": "digit"}, "labels='digit'"),
        ((written(tmp_path / "i.npz", images=GREY.astype(np.int64)),), {}, "int64"),
        ((written(tmp_path / "l.npz", images=np.float32(GREY[:, None])),), {}, r"expected \[0, 1\]"),
        ((written(tmp_path / "v.npz", images=np.arange(5)),), {}, "int64|four axes"),
    ]
    for arguments, options, match in cases:
        with pytest.raises(UserError, match=match) as caught:
            npz(*arguments, **options)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not REAL.is_file(), reason=f"static binarised MNIST is not at {REAL}")
def test_published_bits_are_found_binary():
    data = npz(REAL, size=500, seed=0)
    assert data.kind == "binary"
    assert torch.equal(data.observed(), data.images[:])
