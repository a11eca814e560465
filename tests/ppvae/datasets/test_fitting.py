"""Pictures of any rectangle brought to one size: kept, resized, cropped, padded or stretched as asked, or refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ppvae.datasets import image_folder
from ppvae.datasets.picture_reader import picture_reader, settled_reader
from ppvae.errors import UserError

SIDES = st.integers(1, 40)
QUICK = settings(
    derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def ramp(rows: int, columns: int) -> np.ndarray:
    """Each pixel's column in its red channel, its row in the green, 7 in the blue."""
    across, down = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.stack([4 * across, 4 * down, np.full_like(across, 7)], -1).astype(np.uint8)


def folder_of(folder: Path, *shapes: tuple[int, int]) -> Path:
    for number, shape in enumerate(shapes):
        Image.fromarray(ramp(*shape)).save(folder / f"{number}.png")
    return folder


def test_rectangles_are_kept_as_they_are(tmp_path):
    data = image_folder(folder_of(tmp_path, (48, 64), (48, 64)))
    assert data.image_shape == (3, 48, 64)
    np.testing.assert_array_equal(data.stored()[1].numpy(), np.moveaxis(ramp(48, 64), -1, 0))
    assert torch.equal(image_folder(tmp_path, image_size=[48, 64]).stored(), data.stored())


def test_another_shape_is_refused_by_name_with_what_to_do(tmp_path):
    folder_of(tmp_path, (48, 64), (10, 64))
    expected = r"1\.png.: it has 10 × 64 pixels.* 48 × 64 is another shape: .*fit=crop, pad or stretch"
    with pytest.raises(UserError, match=expected) as caught:
        image_folder(tmp_path)
    assert "\n" not in str(caught.value)
    lazy = image_folder(tmp_path, resident=False)
    assert lazy.stored([0]).shape == (1, 3, 48, 64)
    with pytest.raises(UserError, match=expected):
        lazy.stored()


def test_a_scale_is_averaged(tmp_path):
    """Half the size: a pixel is the mean of four and, under the triangle, of its neighbours, on a ramp the same."""
    half = image_folder(folder_of(tmp_path, (24, 32)), image_size=[12, 16]).stored()[0].numpy().astype(float)
    for found, length in ((half[0], 16), (half[1].T, 12)):
        expected = np.broadcast_to(8 * np.arange(length) + 2.0, found.shape)
        np.testing.assert_allclose(found[:, 1:-1], expected[:, 1:-1], atol=1)


def test_crop_keeps_the_central_part(tmp_path):
    wide = image_folder(folder_of(tmp_path, (10, 30)), image_size=[10, 20], fit="crop")
    np.testing.assert_array_equal(wide.stored()[0].numpy(), np.moveaxis(ramp(10, 30)[:, 5:25], -1, 0))
    assert wide.name.endswith(", cropped")


@pytest.mark.parametrize(("background", "border"), [(None, 0), ("white", 255)])
def test_pad_keeps_all_of_it_within_a_border(tmp_path, background, border):
    folder_of(tmp_path, (10, 30))
    found = image_folder(tmp_path, image_size=30, fit="pad", background=background)
    assert found.name.endswith(f"padded with {background or 'black'}")
    expected = np.full((3, 30, 30), border)
    expected[:, 10:20] = np.moveaxis(ramp(10, 30), -1, 0)
    np.testing.assert_array_equal(found.stored()[0].numpy(), expected)
    real = image_folder(tmp_path, image_size=30, fit="pad", background=background, real=True)
    np.testing.assert_allclose(real.stored()[0].numpy() * 255, expected, atol=1e-4)


def test_stretch_changes_the_proportions(tmp_path):
    found = image_folder(folder_of(tmp_path, (10, 30)), image_size=[20, 15], fit="stretch").stored()[0].numpy()
    assert found.shape == (3, 20, 15)
    np.testing.assert_allclose(found[0, 5, 2:-2], 8 * np.arange(2, 13) + 2, atol=1)
    np.testing.assert_allclose(found[1, 3:-3, 5], 2 * np.arange(3, 17) - 1, atol=1)


@QUICK
@given(rows=SIDES, columns=SIDES, down=SIDES, across=SIDES, fit=st.sampled_from(["crop", "pad", "stretch"]))
def test_any_rectangle_fits_into_any_other(tmp_path, rows, columns, down, across, fit):
    """One colour stays that colour, but for the border, whose share is that of the other proportions."""
    Image.new("L", (columns, rows), 200).save(tmp_path / "x.png")
    found = image_folder(tmp_path, image_size=(down, across), fit=fit).stored()[0, 0]
    assert found.shape == (down, across)
    if fit != "pad":
        assert found.unique().tolist() == [200]
        return
    inside = (found == 200).float().mean() * down * across
    scale = min(down / rows, across / columns)
    assert inside >= 1
    assert abs(inside - scale**2 * rows * columns) <= scale * max(rows, columns) + 1
    assert set(found.unique().tolist()) <= {0, 200}


@QUICK
@given(rows=SIDES, columns=SIDES, channels=st.sampled_from([1, 3]), real=st.booleans())
def test_kept_pictures_are_the_pictures(tmp_path, rows, columns, channels, real):
    pixels = np.random.default_rng(rows * 41 + columns).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
    image.save(tmp_path / "x.png")
    found = image_folder(tmp_path, real=real)
    expected = np.moveaxis(pixels, -1, 0)[:channels]
    np.testing.assert_allclose(found.images[:][0].numpy() * 255, expected, atol=1e-4)
    assert found.kind == ("real" if real else found.kind)


def test_a_reader_can_be_sent_to_another_process(tmp_path):
    folder_of(tmp_path, (8, 9))
    reader, shape = settled_reader(picture_reader(transforms=[{"CenterCrop": {"size": 6}}]), str(tmp_path / "0.png"))
    assert shape == (3, 6, 6)
    again = pickle.loads(pickle.dumps(reader))
    assert torch.equal(again(str(tmp_path / "0.png")), reader(str(tmp_path / "0.png")))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"image_size": [8]}, r"image_size=\[8\]: expected a side, such as 64, or rows and columns"),
        ({"image_size": [8, 0]}, "image_size=0"),
        ({"image_size": "48"}, "image_size=48"),
        ({"image_size": 8, "fit": "squeeze"}, "fit='squeeze': expected one of crop, pad, stretch"),
        ({"fit": "pad"}, "fit=pad and no image_size"),
        ({"background": "whitish"}, "background='whitish': expected a colour"),
        ({"real": "yes"}, "real='yes'"),
        ({"real": True, "binarise": "static"}, "binarise='static'.* of real numbers"),
        ({"transforms": "Grayscale"}, "transforms='Grayscale': expected a list"),
        ({"transforms": ["CentreCrop"]}, "did you mean CenterCrop"),
        ({"transforms": [{"CenterCrop": {"sze": 3}}]}, "CenterCrop does not take"),
        ({"transforms": ["RandomHorizontalFlip"]}, "RandomHorizontalFlip draw random numbers"),
        ({"transforms": ["ToPILImage"]}, "the transforms make Image of it, expected torch.uint8"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, options, match):
    folder_of(tmp_path, (8, 8))
    with pytest.raises(UserError, match=match) as caught:
        image_folder(tmp_path, **options)
    assert "\n" not in str(caught.value)


# torchvision's transforms


def test_transforms_come_before_the_fit(tmp_path):
    folder_of(tmp_path, (20, 30))
    crop = {"CenterCrop": {"size": [10, 10]}}
    found = image_folder(tmp_path, transforms=[crop, "Identity"])
    np.testing.assert_array_equal(found.stored()[0].numpy(), np.moveaxis(ramp(20, 30)[5:15, 10:20], -1, 0))
    assert found.name.endswith(", CenterCrop, Identity")
    assert image_folder(tmp_path, transforms=[crop], image_size=[5, 5]).image_shape == (3, 5, 5)
    own = image_folder(tmp_path, transforms=[lambda picture: 255 - picture], real=False)
    np.testing.assert_array_equal(own.stored()[0].numpy(), 255 - np.moveaxis(ramp(20, 30), -1, 0))
    real = image_folder(tmp_path, transforms=[crop], real=True)
    np.testing.assert_allclose(real.stored()[0].numpy() * 255, found.stored()[0].numpy(), atol=1e-4)
