"""Pictures of every mode and format that Pillow writes: read as they are, or refused in one line naming the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.benchmarks.odd_pictures import COLOURS, HALF, RAMP, of_mode, png, tiff, write_pictures
from ppvae.datasets import image_folder
from ppvae.errors import UserError

DEEP = np.arange(6 * 8 * 4, dtype=np.uint16).reshape(6, 8, 4) * 300


def saved(folder: Path, image: Image.Image, ending: str = ".png", **options) -> Path:
    image.save(folder / f"picture{ending}", **options)
    return folder


def planes(folder: Path, **options) -> np.ndarray:
    """The folder's one picture, (channels, rows, columns)."""
    return image_folder(folder, **options).stored()[0].numpy()


def refusal(path: Path) -> str:
    """Why a picture is not read; empty where it is."""
    try:
        image_folder(path.parent)
    except UserError as error:
        return str(error)
    return ""


def test_every_picture_is_read_or_refused_in_one_line(tmp_path):
    """Of 8 bits and opaque, as Pillow itself reads it; what remains is refused by name, and named by its remedy."""
    seen = dict(write_pictures(tmp_path))
    modes = {what.split()[1] for what in seen if what.startswith("mode")}
    assert modes == set(Image.MODES) - {"La"}  # in which no format is written
    refused = {what: reason for what, path in seen.items() if (reason := refusal(path))}
    for what, reason in refused.items():
        assert str(seen[what]) in reason
        assert "\n" not in reason
    for what in seen.keys() - refused - {what for what in seen if "EXIF" in what}:
        with Image.open(seen[what]) as opened:
            expected = np.moveaxis(np.asarray(opened.convert("RGB")), -1, 0)
        np.testing.assert_array_equal(np.broadcast_to(planes(seen[what].parent), expected.shape), expected, what)
    reasons = ("I", "F", "LA", "La", "PA", "RGBA", "RGBa", "16 bits", "transparent", "alpha", "frames", "pages")
    assert all(any(reason in what for reason in reasons) for what in refused)
    assert {"mode RGBA as PNG", "mode I;16 as TIFF", "16 bits, RGB, as PNG", "two pages as TIFF"} <= refused.keys()


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_16_bits_are_kept_to_the_last_one(tmp_path, mode):
    order = ">u2" if mode == "I;16B" else "<u2"
    levels = DEEP[..., 0]
    image = Image.frombytes(mode, (8, 6), levels.astype(order).tobytes())
    data = image_folder(saved(tmp_path, image, ".tif"), real=True)
    assert data.kind == "real"
    np.testing.assert_array_equal((data.stored()[0, 0].numpy() * 65535).round(), levels)
    assert torch.equal(data.observed(), data.images[:])
    with pytest.raises(UserError, match="more than 8 bits a pixel: real=true keeps them"):
        image_folder(tmp_path)


@pytest.mark.parametrize(("channels", "colour"), [(3, 2), (4, 6)])
def test_16_bits_of_each_colour_lie_on_the_background(tmp_path, channels, colour):
    """x = colour · alpha + background · (1 − alpha), of 65 536 levels each."""
    (tmp_path / "picture.png").write_bytes(png(DEEP[..., :channels], colour))
    x = DEEP[..., :channels] / 65535
    if channels == 4:
        x = x[..., :-1] * x[..., -1:] + 0.2 * (1 - x[..., -1:])
    found = planes(tmp_path, real=True, background="#333333")
    np.testing.assert_allclose(found, np.moveaxis(x, -1, 0), atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_of_each_colour_are_kept_in_either_order(tmp_path, order):
    (tmp_path / "picture.tif").write_bytes(tiff(DEEP[..., :3], order))
    found = planes(tmp_path, real=True)
    np.testing.assert_array_equal((found * 65535).round(), np.moveaxis(DEEP[..., :3], -1, 0))


def test_16_bits_that_pillow_cannot_unpack_are_refused(tmp_path):
    (tmp_path / "picture.png").write_bytes(png(DEEP[..., :2], 4))
    with pytest.raises(UserError, match=r"16 bits a channel \(LA;16B\) 8 would be lost; save RGB or RGBA as PNG"):
        planes(tmp_path, real=True, background="white")
    (tmp_path / "picture.png").unlink()
    (tmp_path / "picture.ppm").write_bytes(b"P6\n8 6\n65535\n" + DEEP[..., :3].astype(">u2").tobytes())
    with pytest.raises(UserError, match="8 would be lost"):
        planes(tmp_path, real=True)


def test_eight_bits_are_the_same_numbers_if_real(tmp_path):
    folder = saved(tmp_path, Image.fromarray(COLOURS))
    np.testing.assert_allclose(planes(folder, real=True), np.moveaxis(COLOURS, -1, 0) / 255, atol=1e-7)
    luma = COLOURS @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(planes(folder, real=True, channels=1)[0], luma, atol=0.51 / 255)


def test_floats_outside_of_their_range_are_refused(tmp_path):
    folder = saved(tmp_path, Image.fromarray(RAMP.astype(np.float32)), ".tif")
    with pytest.raises(UserError, match=r"floats are in 0\.\.255, expected \[0, 1\]"):
        planes(folder, real=True)
    folder = saved(tmp_path, of_mode("F"), ".tif")
    np.testing.assert_array_equal(planes(folder, real=True)[0], (RAMP / 255).astype(np.float32))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0), ("#404040", 64)])
def test_transparent_pixels_are_the_background(tmp_path, mode, background, level):
    folder = saved(tmp_path, of_mode(mode))
    data = image_folder(folder, background=background)
    assert data.name.endswith(f", on {background}")
    opaque = COLOURS if mode == "RGBA" else np.asarray(Image.fromarray(COLOURS).convert("L"))[..., None]
    expected = np.where(HALF[..., None] == 255, opaque, level)
    np.testing.assert_array_equal(data.stored()[0].numpy(), np.moveaxis(expected, -1, 0))


def test_half_transparent_pixels_are_halfway(tmp_path):
    image = Image.new("RGBA", (8, 6), (255, 0, 0, 128))
    found = planes(saved(tmp_path, image), background="blue")
    assert found[:, 0, 0].tolist() == [128, 0, 127]


def test_a_transparent_colour_of_a_palette_is_the_background(tmp_path):
    image = Image.new("P", (8, 6), 1)
    image.putpalette([9, 9, 9, 200, 100, 50])
    folder = saved(tmp_path, image, transparency=0)
    assert planes(folder)[:, 0, 0].tolist() == [200, 100, 50]  # which no pixel has
    image.putpixel((0, 0), 0)
    folder = saved(tmp_path, image, transparency=0)
    with pytest.raises(UserError, match=r"picture\.png.: it is transparent in places: background=white"):
        planes(folder)
    assert planes(folder, background="white")[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(("orientation", "turned"), [(3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1))])
def test_exif_turns_pictures(tmp_path, real, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    levels = RAMP.astype(np.uint16) * 257 if real else RAMP
    found = planes(saved(tmp_path, Image.fromarray(levels), exif=exif), real=real)[0]
    np.testing.assert_array_equal((found * 255).round() if real else found, turned(RAMP))


def test_the_first_picture_says_whether_there_are_colours(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "1.png")
    Image.fromarray(COLOURS).save(tmp_path / "2.png")
    with pytest.raises(UserError, match=r"2\.png.: it has colours, the first picture has none: give channels=3, or 1"):
        image_folder(tmp_path)
    assert image_folder(tmp_path, channels=1).image_shape == (1, 6, 8)
    (tmp_path / "1.png").rename(tmp_path / "3.png")
    data = image_folder(tmp_path)
    np.testing.assert_array_equal(data.stored()[1].numpy(), np.repeat(RAMP[None], 3, 0))
