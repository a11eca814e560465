"""What a run takes: pictures fitted as its own were, arrays, archives and tables; and one line for what it does not."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from omegaconf import OmegaConf
from PIL import Image

import ppvae
from experiments.finished import FinishedRun, intake
from experiments.finished.intake import Intake
from ppvae import UserError
from ppvae.datasets import image_folder, rows, sprites


@pytest.fixture
def run(trained) -> FinishedRun:
    return ppvae.load(trained("plain"))


@pytest.fixture
def images(run) -> np.ndarray:
    """Five of the run's own, (5, 3, 8, 8) uint8."""
    return run.data.stored(slice(5)).numpy()


@pytest.fixture
def pictures(images, tmp_path) -> Path:
    """The same as files."""
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def test_arrays_files_folders_and_archives_are_the_same_images(run, images, pictures, tmp_path):
    expected = run.encode(run.data.subset(slice(5))).to_numpy()
    np.savez(tmp_path / "more.npz", images=images)
    np.save(tmp_path / "more.npy", images)
    shutil.make_archive(tmp_path / "pictures", "zip", pictures)
    files = sorted(pictures.iterdir())
    dims = ("image", "channel", "row", "column")
    ways = (images, torch.from_numpy(images), images.astype(np.float32) / 255, xr.DataArray(images, dims=dims))
    for given in (*ways, pictures, str(pictures), files, tmp_path / "more.npz", tmp_path / "more.npy"):
        np.testing.assert_array_equal(run.encode(given).select_dtypes("number"), expected)
    archived = run.encode(tmp_path / "pictures.zip")
    assert archived["file"].tolist() == run.encode(pictures)["file"].tolist() == [f"{n}.png" for n in range(5)]
    np.testing.assert_array_equal(archived.drop(columns="file"), expected)


def test_pictures_of_another_size_are_said_to_be_resized_once(run, images, pictures, tmp_path, caplog):
    """The file that shows it, and the sizes; of the run's own size nothing is said."""
    caplog.set_level(logging.INFO, logger=intake.__name__)
    run.encode(pictures)
    assert not caplog.messages
    for times, fit, scaled in ((2, None, "resized"), (3, "crop", "cropped"), (3, "stretch", "stretched")):
        larger = images.repeat(times, 2).repeat(2, 3)
        for number, image in enumerate(larger):
            Image.fromarray(image.transpose(1, 2, 0)).save(pictures / f"{number}.png")
        np.savez(tmp_path / "more.npz", images=larger)
        for source, name in ((pictures, "0.png"), (tmp_path / "more.npz", "more.npz")):
            caplog.clear()
            run.encode(source, fit=fit)
            said = f"pictures of {8 * times} × 16, as in {name}, are {scaled} to the run's 8 × 8"
            assert caplog.messages == [said]


def test_one_image_is_taken_as_one(run, images, pictures):
    expected = run.encode(images[2:3])
    assert run.encode(images[2]).equals(expected)
    alone = run.encode(pictures / "2.png")
    assert alone["file"].tolist() == ["2.png"]
    np.testing.assert_array_equal(alone.drop(columns="file"), expected)
    assert run.reconstruct(images[2]).shape == (1, 3, 8, 8)
    assert run.score(images[2])["anomaly"].shape == (1,)


def grey(run: FinishedRun, shape: tuple[int, int, int] = (1, 8, 8), **data) -> Intake:
    """How a run of grey images takes what it is given."""
    own = OmegaConf.create({"image_shape": list(shape), "data": {"_target_": "ppvae.datasets.npz", **data}})
    return Intake(own, run.folder)


def test_grey_images_may_lack_the_axis_of_channels(run):
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8), dtype=np.uint8)
    for given in (image, image[0]):
        assert np.array_equal(grey(run).dataset(given).stored(), image[None])
    several = image.repeat(3, 0)
    assert np.array_equal(grey(run).dataset(several).stored(), several[:, None])


def test_a_picture_of_another_scale_is_resized_and_of_another_shape_fitted(run, tmp_path):
    """As ``image_folder`` does with the same words."""
    wide = np.random.default_rng(1).integers(0, 256, (10, 16, 3), dtype=np.uint8)
    for name, picture in (("wide", wide), ("large", wide[:, :10])):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "a.png")
    large = image_folder(tmp_path / "large", image_size=8).images[:].numpy()
    assert run.encode(tmp_path / "large").drop(columns="file").equals(run.encode(large))
    for fit in ("crop", "pad", "stretch"):
        fitted = image_folder(tmp_path / "wide", image_size=8, fit=fit).images[:].numpy()
        assert run.encode(tmp_path / "wide", fit=fit).drop(columns="file").equals(run.encode(fitted))
        assert run.encode(np.moveaxis(wide, -1, 0), fit=fit).shape == (1, 6)
    with pytest.raises(UserError, match=r"a\.png': it has 10 × 16 pixels.* or fit=crop, pad or stretch"):
        run.encode(tmp_path / "wide")


def test_the_runs_own_words_fit_further_pictures(run, tmp_path):
    """A folder's fit, background, transforms and real numbers are those of its configuration."""
    picture = np.random.default_rng(1).integers(0, 256, (10, 16, 4), dtype=np.uint8)
    Image.fromarray(picture, "RGBA").save(tmp_path / "a.png")
    words = {"fit": "pad", "background": "white", "transforms": [{"CenterCrop": {"size": [10, 12]}}], "real": True}
    own = image_folder(tmp_path, image_size=[8, 8], **words)
    given = grey(run, (3, 8, 8), **words).dataset(tmp_path)
    assert given.kind == "real"
    assert torch.equal(given.observed(), own.observed())


def test_faces_and_drawings_are_cut_as_their_published_sets_are(run, tmp_path):
    face = np.random.default_rng(1).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    Image.fromarray(face).save(tmp_path / "face.png")
    Image.fromarray(face[:105, :105, 0]).save(tmp_path / "drawing.png")
    of_faces = grey(run, (3, 148, 148), _target_="ppvae.datasets.celeba", crop=148).dataset(tmp_path / "face.png")
    assert np.array_equal(of_faces.stored()[0], face[35:183, 15:163].transpose(2, 0, 1))
    of_drawings = grey(run, (1, 105, 105), _target_="ppvae.datasets.omniglot").dataset(tmp_path / "drawing.png")
    assert np.array_equal(of_drawings.stored()[0, 0], 255 - face[:105, :105, 0])


def test_pixels_are_converted_as_the_runs_own(trained):
    run = ppvae.load(trained("binary"))
    images = run.data.stored(slice(4)).numpy()
    seen = run.intake.dataset(images)
    assert seen.conversion == run.data.conversion
    assert set(seen.observed().unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (np.zeros((2, 3, 9, 8), np.uint8), r"images of shape \(3, 9, 8\), the run's are \(3, 8, 8\).*: give fit=crop"),
        (np.zeros((2, 1, 8, 8), np.uint8), r"images of shape \(1, 8, 8\).*: give images of as many channels"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"move the channels first: numpy\.moveaxis\(images, -1, -3\)"),
        (np.zeros((8, 8), np.uint8), r"images of shape"),
        (np.full((1, 3, 8, 8), 2.0), r"float images in 2\.\.2: expected \[0, 1\]"),
        (np.zeros((1, 3, 8, 8), np.int64), "dtype int64: expected uint8"),
        (sprites(size=3), r"images of shape \(3, 64, 64\), the run's are \(3, 8, 8\)"),
        ("nowhere", "no folder at 'nowhere'"),
        ([], "images of shape"),
        (["nowhere.png"], r"'nowhere\.png' cannot be read as an image"),
    ],
)
def test_what_a_run_does_not_take_is_said_in_one_line(run, given, match):
    for call in (run.encode, run.score, run.reconstruct):
        with pytest.raises(UserError, match=match) as error:
            call(given)
        assert "\n" not in str(error.value)


def test_colours_are_no_grey(run, pictures):
    with pytest.raises(UserError, match=r"png': it has colours, the run's images are grey: convert it"):
        grey(run).dataset(pictures)
    asked = grey(run, channels=1).dataset(pictures)  # as the run's own pictures were made grey
    assert torch.equal(asked.observed(), image_folder(pictures, image_size=8, channels=1).observed())


def test_a_table_of_other_columns_is_refused_by_their_names(trained, sources, tmp_path):
    run, frame = ppvae.load(trained("table")), pd.read_csv(sources / "rows.csv")
    four = frame[["a", "b", "c", "d"]]
    for wrong, match in (
        (
            four.drop(columns="c"),
            r"the table lacks 'c': give the 4 columns that the run was trained on, 'a', 'b', 'c', 'd'",
        ),
        (four.assign(e=1.0), r"the table has 'e': give the 4 columns"),
        (four.rename(columns={"a": "A"}), r"the table lacks 'a' and has 'A'"),
        (np.zeros((3, 5)), r"rows of shape \(3, 5\): expected \(row, 4\), a number for each column"),
        ("words", r"'words' is no table by its name"),
        (sprites(size=3), r"the run is of a table's rows; give rows of its columns"),
    ):
        with pytest.raises(UserError, match=match) as error:
            run.encode(wrong)
        assert "\n" not in str(error.value)
    four.to_csv(tmp_path / "unlabelled.csv", index=False)
    assert run.encode(tmp_path / "unlabelled.csv").equals(run.encode(four))
    assert run.encode(rows(four.to_numpy(), list(four))).equals(run.encode(four))  # whatever its own scaling is
