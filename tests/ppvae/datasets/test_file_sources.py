"""Omniglot, CelebA and folders of images from small files of the published layouts; lazy and eager decoding agree."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from ppvae.datasets import DecodedImages, StreamedImages, celeba, image_folder, omniglot
from ppvae.datasets.decoding import decode
from ppvae.errors import UserError

RANDOM = np.random.default_rng(0)
INK = RANDOM.random((8, 105, 105)) < 0.3
CHARACTERS = ("Greek/character01", "Greek/character02", "Latin/character01", "Latin/character02")
ATTRIBUTES = RANDOM.integers(0, 2, (9, 3))


def write_omniglot(root: Path) -> None:
    """One-bit images, black ink on white, two drawers a character, and the archive that torchvision asks for."""
    for folder in ("images_background", "images_evaluation"):
        for k, ink in enumerate(INK):
            path = root / "omniglot-py" / folder / CHARACTERS[k // 2] / f"000{k // 2}_0{1 + k % 2}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((~ink).astype(np.uint8) * 255).convert("1").save(path)
        (root / "omniglot-py" / f"{folder}.zip").write_bytes(b"")


def face(k: int) -> np.ndarray:
    """A smooth image 178 wide and 218 high; its number is in its red channel."""
    rows, columns = np.mgrid[:218, :178]
    return np.stack([np.full_like(rows, 20 * k), rows, columns], -1).astype(np.uint8)


def write_celeba(root: Path) -> None:
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{k + 1:06}.jpg" for k in range(9)]
    for k, name in enumerate(names):
        Image.fromarray(face(k)).save(folder / "img_align_celeba" / name, quality=100, subsampling=0)
    lines = {
        "list_attr_celeba.txt": ["9", "Bald Eyeglasses Wearing_Hat "]
        + [f"{n}  " + "  ".join(map(str, 2 * row - 1)) for n, row in zip(names, ATTRIBUTES, strict=True)],
        "list_eval_partition.txt": [f"{n} {k // 3}" for k, n in enumerate(names)],
        "identity_CelebA.txt": [f"{n} {k}" for k, n in enumerate(names)],
        "list_bbox_celeba.txt": ["9", "image_id x_1 y_1 width height"] + [f"{n} 1 2 3 4" for n in names],
        "list_landmarks_align_celeba.txt": ["9", "lefteye_x lefteye_y"] + [f"{n} 5 6" for n in names],
    }
    for name, text in lines.items():
        (folder / name).write_text("\n".join(text) + "\n")


@pytest.fixture(autouse=True)
def _no_checksums(monkeypatch) -> None:
    """torchvision only looks whether a file exists where no checksum is known."""
    drawn, faces = torchvision.datasets.Omniglot, torchvision.datasets.CelebA
    monkeypatch.setattr(drawn, "zips_md5", dict.fromkeys(drawn.zips_md5))
    monkeypatch.setattr(faces, "file_list", [(key, None, name) for key, _, name in faces.file_list])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Grey PNGs of 12 × 10 pixels in two classes."""
    for k in range(6):
        path = tmp_path / "shells" / ("snail" if k % 2 else "cone") / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 12), 40 * k, dtype=np.uint8)).save(path)
    return tmp_path / "shells"


# Omniglot


@pytest.mark.parametrize("split", ["train", "test"])
def test_omniglot_is_ink_one_in_alphabetical_order(tmp_path, split):
    write_omniglot(tmp_path)
    data = omniglot(split, root=str(tmp_path))
    np.testing.assert_array_equal(data.stored()[:, 0].numpy(), INK * np.uint8(255))
    assert data.kind == "binary"
    assert data.factors["label"].attrs["values"] == list(CHARACTERS)
    assert data.factors["label"].values.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert data.factors["alphabet"].attrs["values"] == ["Greek", "Latin"]
    assert data.factors["alphabet"].values.tolist() == [0] * 4 + [1] * 4


def test_omniglot_is_resized_by_area(tmp_path):
    """A third of the size: every new pixel is the mean of nine; 28 pixels keep the share of ink."""
    write_omniglot(tmp_path)
    third = omniglot(root=str(tmp_path), image_size=35)
    blocks = INK.reshape(8, 35, 3, 35, 3).mean((2, 4))
    np.testing.assert_allclose(third.images[:][:, 0].numpy(), blocks, atol=0.5 / 255 + 1e-6)
    assert third.kind == "8-bit"
    small = omniglot(root=str(tmp_path), image_size=28).images[:].mean((1, 2, 3)).numpy()
    np.testing.assert_allclose(small, INK.mean((1, 2)), atol=0.01)  # boundary pixels count once, here or there


# CelebA


@pytest.mark.parametrize(("split", "first"), [("train", 0), ("valid", 3), ("test", 6)])
def test_celeba_is_cropped_resized_and_has_its_attributes(tmp_path, split, first):
    write_celeba(tmp_path)
    data = celeba(split, root=str(tmp_path), image_size=37)
    assert data.image_shape == (3, 37, 37)
    centres = 4 * np.arange(37) + 1.5  # 148 / 37 = 4 pixels of the crop a new one
    red, green, blue = data.stored().numpy().astype(float).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(
        red, np.broadcast_to(20.0 * np.arange(first, first + 3)[:, None, None], red.shape), atol=3
    )
    inner = slice(2, -2)  # at the edges of the crop the triangle filter leans inwards
    np.testing.assert_allclose(green[0, inner, 5], (35 + centres)[inner], atol=3)  # (218 - 148) / 2 rows above
    np.testing.assert_allclose(blue[0, 5, inner], (15 + centres)[inner], atol=3)
    assert list(data.factors.data_vars) == ["Bald", "Eyeglasses", "Wearing_Hat"]
    np.testing.assert_array_equal(data.factors.to_array().T, ATTRIBUTES[first : first + 3])
    assert data.factors["Wearing_Hat"].attrs["long_name"] == "Wearing Hat"
    assert "crop 148" in data.description


def test_celeba_has_the_crop_of_nvae_by_name(tmp_path):
    """Rows 40 to 187 and columns 15 to 162: the green of a pixel is its row, the blue its column."""
    write_celeba(tmp_path)
    data = celeba(root=str(tmp_path), image_size=37, crop="nvae")
    centres, inner = 4 * np.arange(37) + 1.5, slice(2, -2)
    _, green, blue = data.stored()[0].numpy().astype(float)
    np.testing.assert_allclose(green[inner, 5], (40 + centres)[inner], atol=3)
    np.testing.assert_allclose(blue[5, inner], (15 + centres)[inner], atol=3)
    assert "crop nvae" in data.description
    with pytest.raises(UserError, match="crop"):
        celeba(root=str(tmp_path), crop="nave")


def test_celeba_on_demand_is_celeba_decoded_at_once(tmp_path, monkeypatch):
    write_celeba(tmp_path)
    lazy, eager = (celeba(root=str(tmp_path), crop=140, resident=resident) for resident in (False, True))
    assert isinstance(lazy.images, DecodedImages)
    assert torch.equal(lazy.stored(), eager.stored())
    assert torch.equal(lazy.subset([2, 0]).stored(), eager.stored([2, 0]))
    assert "drawn on demand" in repr(lazy)
    assert "resident" in repr(celeba(root=str(tmp_path)))
    monkeypatch.setattr("ppvae.datasets.decoded.RESIDENT_BYTES", 3 * 3 * 64 * 64 - 1)
    assert "drawn on demand" in repr(celeba(root=str(tmp_path)))
    assert "resident" in repr(celeba(root=str(tmp_path), size=2))


def test_celeba_is_decoded_once_for_each_part_and_crop(tmp_path, monkeypatch):
    write_celeba(tmp_path)
    asked = [{"split": "train"}, {"split": "test"}, {"crop": 140}, {"crop": "nvae"}, {"image_size": 32}]
    expected = [celeba(root=str(tmp_path), **how) for how in asked]
    for how in asked:
        celeba(root=str(tmp_path), cache=tmp_path / "cache", **how)
    assert len(list((tmp_path / "cache").iterdir())) == 5
    monkeypatch.setattr(DecodedImages, "_fill", None)  # nothing is decoded from here on
    for how, data in zip(asked, expected, strict=True):
        found = celeba(root=str(tmp_path), cache=tmp_path / "cache", resident=False, **how)
        assert isinstance(found.images, StreamedImages)
        assert torch.equal(found.stored(), data.stored())
        assert found.factors.identical(data.factors)


# Folders


def test_names_of_folders_are_labels(folder):
    data = image_folder(folder, image_size=10, fit="crop", channels=3)
    assert data.image_shape == (3, 10, 10)
    assert data.name == "shells, cropped"
    assert data.factors["label"].attrs["values"] == ["cone", "snail"]
    assert data.factors["label"].values.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.stored()[:, 1, 3, 3].tolist() == [0, 80, 160, 40, 120, 200]


def test_a_flat_folder_has_no_labels(folder):
    data = image_folder(folder / "snail", image_size=(5, 6), channels=1, size=2, seed=1)
    assert data.image_shape == (1, 5, 6)
    assert data.factors is None
    assert set(data.stored().unique().tolist()) < {40, 120, 200}


def test_the_central_square_is_kept(tmp_path):
    pixels = RANDOM.integers(0, 256, (8, 13, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(pixels.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    data = image_folder(tmp_path, image_size=8, fit="crop")
    square = torch.from_numpy(pixels[:, 2:10]).permute(2, 0, 1)
    assert torch.equal(data.stored([1])[0], square)
    assert torch.equal(data.stored([0])[0], square.mT)


def test_many_files_are_decoded_in_order(folder, monkeypatch):
    data = image_folder(folder, image_size=4, fit="crop", resident=False)
    serial = data.stored()
    monkeypatch.setattr("ppvae.datasets.decoded._AT_ONCE", 2)
    assert torch.equal(data.stored(), serial)
    assert torch.equal(pickle.loads(pickle.dumps(data.images)).stored([5, 0]), serial[[5, 0]])
    assert data.stored([]).shape == (0, 1, 4, 4)


# Mistakes


def test_a_broken_image_is_named(folder):
    path = folder / "snail" / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"3\.png.*cannot be read as an image") as caught:
        image_folder(folder)
    assert "\n" not in str(caught.value)
    lazy = image_folder(folder, resident=False)
    assert lazy.stored([0, 1]).shape == (2, 1, 10, 12)
    with pytest.raises(UserError, match=r"3\.png"):
        lazy.stored()


def test_deep_grey_levels_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match="more than 8 bits"):
        decode(str(tmp_path / "deep.png"), channels=1, image_size=4)


def test_folders_without_images_end_in_one_line(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read me.txt").write_text("nothing here")
    for path, match in (
        (tmp_path / "nowhere", "no folder"),
        (tmp_path, "no images"),
        (tmp_path / "notes", "no images"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            image_folder(path, image_size=4)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "function"), [("omniglot", omniglot), ("celeba", celeba)])
def test_missing_files_end_in_the_command_that_downloads_them(tmp_path, monkeypatch, name, function):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        function()
    assert f"`ppvae train data={name} data.download=true`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_face_that_is_missing_is_named(tmp_path):
    write_celeba(tmp_path)
    (tmp_path / "celeba" / "img_align_celeba" / "000002.jpg").unlink()
    with pytest.raises(UserError, match=r"1 images are missing .*000002\.jpg"):
        celeba(root=str(tmp_path))


def test_an_archive_that_was_not_unpacked(tmp_path):
    (tmp_path / "omniglot-py" / "images_background").mkdir(parents=True)
    (tmp_path / "omniglot-py" / "images_background.zip").write_bytes(b"")
    with pytest.raises(UserError, match="no images"):
        omniglot(root=str(tmp_path))


@pytest.mark.parametrize(
    ("function", "options", "match"),
    [
        (omniglot, {"split": "background"}, "train, test"),
        (omniglot, {"image_size": 0}, "image_size=0"),
        (celeba, {"split": "extra"}, "train, valid, test"),
        (celeba, {"crop": 200}, "at most 178"),
        (image_folder, {"path": ".", "image_size": 4, "channels": 4}, "channels='4'"),
        (image_folder, {"path": ".", "image_size": 0.5}, "image_size=0.5"),
    ],
)
def test_bad_arguments_end_in_one_line(function, options, match):
    with pytest.raises(UserError, match=match) as caught:
        function(**options)
    assert "\n" not in str(caught.value)


def test_residence_is_auto_or_a_truth_value(folder):
    with pytest.raises(UserError, match="'auto', true"):
        image_folder(folder, resident="sometimes")
