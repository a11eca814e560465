"""MNIST and its relatives, SVHN and CIFAR-10 from small files of the published formats."""

import gzip
import pickle
import string
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets

from ppvae.datasets import ImageDataset, cifar10, emnist, fashion_mnist, mnist, svhn
from ppvae.errors import UserError

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (30, 28, 28), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
CODES = np.arange(30) % 10
LETTERS = 1 + np.arange(30) % 26


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the format of MNIST's files: magic number, sizes, values."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, prefixes: dict[str, slice], images: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for prefix, part in prefixes.items():
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images[part]))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[part]))


def write_mnist(root: Path, name: str = "MNIST") -> None:
    write_idx(root / name / "raw", {"train": slice(20), "t10k": slice(20, 30)}, GREY, CODES)


def write_emnist(root: Path, subset: str = "letters", labels: np.ndarray = LETTERS) -> None:
    """Images lie on their side, as in the published files; letters count from 1."""
    prefixes = {f"emnist-{subset}-train": slice(20), f"emnist-{subset}-test": slice(20, 30)}
    write_idx(root / "EMNIST" / "raw", prefixes, GREY.transpose(0, 2, 1), labels)


def write_svhn(root: Path) -> None:
    """Rows, columns, channels, images; the digit 0 is labelled 10."""
    root.mkdir(exist_ok=True)
    for name, part in {"train": slice(15), "test": slice(15, 25), "extra": slice(25, 30)}.items():
        labels = np.where(CODES[part] == 0, 10, CODES[part])[:, None]
        scipy.io.savemat(root / f"{name}_32x32.mat", {"X": COLOUR[part].transpose(2, 3, 1, 0), "y": labels})


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    parts = {f"data_batch_{k + 1}": slice(4 * k, 4 * k + 4) for k in range(5)} | {"test_batch": slice(20, 30)}
    for name, part in parts.items():
        rows = {"data": COLOUR[part].reshape(-1, 3072), "labels": CODES[part].tolist()}
        (folder / name).write_bytes(pickle.dumps(rows, protocol=2))
    names = {"label_names": [f"kind {k}" for k in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))


@pytest.fixture(autouse=True)
def _no_checksums(monkeypatch) -> None:
    """torchvision only looks whether a file exists where no checksum is known."""
    cifar, numbers = torchvision.datasets.CIFAR10, torchvision.datasets.SVHN
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(cifar, name, [[file, None] for file, _ in getattr(cifar, name)])
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": None})
    monkeypatch.setattr(
        numbers, "split_list", {k: [url, file, None] for k, (url, file, _) in numbers.split_list.items()}
    )


@pytest.fixture(autouse=True)
def _no_network(monkeypatch) -> None:
    def refused(*_args, **_kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", refused)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)


SOURCES: dict[str, tuple[Callable[..., ImageDataset], Callable[[Path], None], np.ndarray]] = {
    "mnist": (mnist, write_mnist, GREY[:, None]),
    "fashion_mnist": (fashion_mnist, lambda root: write_mnist(root, "FashionMNIST"), GREY[:, None]),
    "emnist": (emnist, write_emnist, GREY[:, None]),
    "svhn": (svhn, write_svhn, COLOUR),
    "cifar10": (cifar10, write_cifar10, COLOUR),
}
TRAIN = {"svhn": 15}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    """Name, function and expected training pixels of each source, whose files lie in `tmp_path`/data."""
    function, write, pixels = SOURCES[request.param]
    write(tmp_path / "data")
    return request.param, function, pixels[: TRAIN.get(request.param, 20)]


def test_pixels_and_labels_are_the_files(source, tmp_path):
    name, function, pixels = source
    data = function(root=str(tmp_path / "data"))
    np.testing.assert_array_equal(data.stored().numpy(), pixels)
    assert data.kind == "8-bit"
    assert name in data.description
    label = data.factors["label"]
    if name == "emnist":
        assert label.attrs["values"] == list(string.ascii_uppercase)
        assert label.values.tolist() == list(range(20))  # the file's 1..20
    else:
        assert label.attrs["levels"] == 10
        np.testing.assert_array_equal(label, CODES[: len(pixels)])
        first = {"fashion_mnist": "T-shirt/top", "cifar10": "kind 0"}.get(name, "0")
        assert label.attrs["values"][0] == first


def test_the_test_split_is_another_part(source, tmp_path):
    name, function, _ = source
    test = function("test", root=str(tmp_path / "data"))
    expected = SOURCES[name][2][15:25] if name == "svhn" else SOURCES[name][2][20:]
    np.testing.assert_array_equal(test.stored().numpy(), expected)
    assert "test" in test.description


def test_svhn_of_train_and_extra_is_the_one_after_the_other(tmp_path):
    write_svhn(tmp_path / "data")
    data = svhn("train_and_extra", root=str(tmp_path / "data"))
    rows = [*range(15), *range(25, 30)]
    np.testing.assert_array_equal(data.stored().numpy(), COLOUR[rows])
    np.testing.assert_array_equal(data.factors["label"].values, CODES[rows])
    (tmp_path / "data" / "extra_32x32.mat").unlink()
    with pytest.raises(UserError, match="svhn 'extra' cannot be read"):
        svhn("train_and_extra", root=str(tmp_path / "data"))


def test_a_random_part_by_its_seed(source, tmp_path):
    _, function, pixels = source
    parts = [function(root=str(tmp_path / "data"), size=6, seed=seed) for seed in (0, 0, 1)]
    chosen = [part.factors["image"].values for part in parts]
    assert len(set(chosen[0].tolist())) == 6
    np.testing.assert_array_equal(parts[0].stored().numpy(), pixels[chosen[0]])
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert not np.array_equal(chosen[0], chosen[2])


def test_conversion_arrives(source, tmp_path):
    _, function, pixels = source
    data = function(root=str(tmp_path / "data"), binarise="static")
    np.testing.assert_array_equal(data.observed().numpy(), pixels > 127)
    assert function(root=str(tmp_path / "data"), dequantise="uniform").kind == "real"


def test_missing_files_end_in_the_command_that_downloads_them(tmp_path):
    for name, (function, _, _) in SOURCES.items():
        with pytest.raises(UserError) as caught:
            function()
        assert f"`ppvae train data={name} data.download=true`" in str(caught.value)
        assert f"ppvae.datasets.{name}('train', root='data', download=True)" in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(UserError, match=r"data\.split=test .*data\.root='?.*with space'? data\.download=true"):
            function("test", root=str(tmp_path / "with space"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path) -> None:
    """The default root is below the working directory."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


def test_a_download_that_fails_ends_in_one_line(tmp_path):
    for function, _, _ in SOURCES.values():
        with pytest.raises(UserError, match="connection") as caught:
            function(root=str(tmp_path / "nothing"), download=True)
        assert "\n" not in str(caught.value)


def test_archives_at_hand_are_unpacked(tmp_path, monkeypatch):
    write_mnist(tmp_path / "data")
    for path in (tmp_path / "data" / "MNIST" / "raw").iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    files = [(name, None) for name, _ in torchvision.datasets.MNIST.resources]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", files)
    with pytest.raises(UserError, match="download=true"):
        mnist(root=str(tmp_path / "data"))
    assert torch.equal(mnist(root=str(tmp_path / "data"), download=True).stored()[:, 0], torch.from_numpy(GREY[:20]))


BROKEN = {
    "empty": lambda _: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "text": lambda _: b"<html>not found</html>",
}


@pytest.mark.parametrize("damage", BROKEN)
def test_broken_files_end_in_one_line(source, tmp_path, damage):
    name, function, _ = source
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            path.write_bytes(BROKEN[damage](path.read_bytes()))
    with pytest.raises(UserError, match=f"^{name} 'train' cannot be read.*delete broken files") as caught:
        function(root=str(tmp_path / "data"))
    assert "\n" not in str(caught.value)


def test_checksums_are_looked_at(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    files = [[name, "0" * 32] for name, _ in torchvision.datasets.CIFAR10.train_list]
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "train_list", files)
    with pytest.raises(UserError, match="corrupted"):
        cifar10(root=str(tmp_path))


@pytest.mark.parametrize("classes", [["C", "A"], ["c", "a"], "CA"])
def test_chosen_letters_are_the_levels(tmp_path, classes):
    write_emnist(tmp_path)
    data = emnist(root=str(tmp_path), classes=classes)
    assert torch.equal(data.stored()[:, 0], torch.from_numpy(GREY[[0, 2]]))  # label 1 is A, 3 is C
    assert data.factors["label"].attrs["values"] == ["C", "A"]
    assert data.factors["label"].values.tolist() == [1, 0]
    assert data.name == "emnist letters CA train"


@pytest.mark.parametrize("subset", ["balanced", "byclass", "digits"])
def test_other_subsets_count_from_zero(tmp_path, subset):
    write_emnist(tmp_path, subset, np.arange(30) % 10)
    label = emnist(root=str(tmp_path), subset=subset, classes=[3, 1]).factors["label"]
    assert label.attrs["values"] == ["3", "1"]
    assert label.values.tolist() == [1, 0, 1, 0]
    values = emnist(root=str(tmp_path), subset=subset).factors["label"].attrs["values"]
    assert len(values) == {"balanced": 47, "byclass": 62, "digits": 10}[subset]
    assert "".join(values).startswith(string.digits if subset == "digits" else string.digits + string.ascii_uppercase)


@pytest.mark.parametrize(
    ("function", "options", "match"),
    [
        (mnist, {"split": "valid"}, "split='valid': expected one of train, test"),
        (svhn, {"split": "valid"}, "train, test, extra, train_and_extra"),
        (mnist, {"binarise": "dynamc"}, "none, static, dynamic"),
        (cifar10, {"binarise": "static", "dequantise": "uniform"}, "leave one"),
        (mnist, {"size": 0}, "size=0"),
        (mnist, {"seed": -1}, "seed=-1"),
        (emnist, {"subset": "capitals"}, "letters, digits"),
        (emnist, {"classes": ["A", "1"]}, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        (emnist, {"classes": []}, "one or more"),
        (emnist, {"classes": ["A", "a"]}, "different"),
    ],
)
def test_bad_arguments_end_in_one_line_before_any_file_is_read(function, options, match):
    with pytest.raises(UserError, match=match) as caught:
        function(**options)
    assert "\n" not in str(caught.value)


def test_more_images_than_there_are(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(UserError, match="size=21 is more than the 20 images of mnist train"):
        mnist(root=str(tmp_path), size=21)
