"""What good models reach: data are known by their description, and a model is better, within or worse."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

import experiments
from experiments.reached import AFTER_OTHERS, ALONE, COLUMNS, DATA, UNKNOWN, GoodModels, Reached, reached, reached_rows
from ppvae.datasets import ImageDataset, sprites
from ppvae.diagnostics.grades import SCALES
from ppvae.likelihoods import AutoregressiveLikelihood
from ppvae.networks import MLPDecoder

RESULTS = Path(experiments.__file__).parent / "results"
GREY = torch.arange(2 * 28 * 28, dtype=torch.uint8).reshape(2, 1, 28, 28)


def parts(data: ImageDataset, likelihood: torch.nn.Module | None = None) -> SimpleNamespace:
    return SimpleNamespace(data=data, model=SimpleNamespace(likelihood=likelihood))


def images(name: str, **conversion: str) -> ImageDataset:
    return ImageDataset(GREY, name=name, **conversion)


def known(test: str, low: float, high: float) -> Reached:
    return Reached(test=test, low=low, high=high, draws=100, runs=4)


def findings(information: str = "pass", **sizes: float) -> xr.Dataset:
    tests = ["active latents", "information", *sizes]
    columns = {"size": [3.0, 0.2, *sizes.values()], "verdict": ["pass", information, *["fail"] * len(sizes)]}
    return xr.Dataset({name: ("test", column) for name, column in columns.items()}, coords={"test": tests})


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (images("mnist train", binarise="dynamic"), "binarised MNIST"),
        (images("mnist test", binarise="static"), "binarised MNIST"),
        (images("mnist train"), "grey MNIST"),
        (images("mnist train", dequantise="uniform"), "grey MNIST"),
        (images("fashion_mnist train"), ""),
        (images("emnist letters train", binarise="dynamic"), ""),
        (images("cifar10 train"), "CIFAR-10"),
        (images("cifar10_4k"), "CIFAR-10"),
        (images("cifar100"), ""),
        (sprites(2, image_size=32), "sprites"),
        (sprites(2, image_size=64), ""),
    ],
    ids=lambda value: value.description if isinstance(value, ImageDataset) else value or "unknown",
)
def test_data_are_known_by_their_description(data, name):
    assert reached(parts(data), 100).data == name


def test_static_mnist_is_binary_as_it_comes():
    described = SimpleNamespace(description="static binarised mnist train, 50000 images 1×28×28, binary")
    assert reached(parts(described), 100).data == "binarised MNIST"


def test_the_table_is_of_tests_that_there_are_and_of_pages_that_there_are():
    rows = reached_rows()
    assert {row["data"] for row in rows} == {*DATA}
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["unit"] == SCALES[row["test"]].unit
        assert row["decoder"] in (ALONE, AFTER_OTHERS)
        assert float(row["low"]) <= float(row["high"])
        assert (RESULTS / f"{row['source']}.md").is_file()
    assert len({(row["data"], row["decoder"], row["test"]) for row in rows}) == len(rows)


def test_a_decoder_that_sees_other_pixels_is_beside_its_own_kind():
    data = images("mnist train", binarise="dynamic")
    decoder = MLPDecoder(2, (1, 28, 28), (4,), maps=4)
    after = AutoregressiveLikelihood(decoder, layers=5, channels=4, context=4)
    alone, seen = reached(parts(data), 100).by_test, reached(parts(data, after), 100).by_test
    assert seen["tightness"].high < alone["tightness"].low
    assert "width" not in seen


def test_other_numbers_of_draws_leave_out_what_depends_on_them():
    data = images("mnist train")
    usual, few = (reached(parts(data), draws).by_test for draws in (60, 30))
    assert set(usual) - set(few) == {"tightness", "pareto k", "effective draws"}


@pytest.mark.parametrize(
    ("one", "sizes"),
    [
        (known("tightness", 4.0, 6.0), {"better": 3.3, "within": 6.5, "worse": 6.7}),
        (known("effective draws", 2.0, 4.0), {"better": 5.1, "within": 1.9, "worse": 1.7}),
        (known("information", 5.0, 6.0), {"better": 6.7, "within": 4.5, "worse": 4.3}),
        (known("width", 0.5, 0.8), {"better": 1.0, "within": 1.9, "worse": 2.3}),
        (known("calibration", 0.1, 0.2), {"": np.nan}),
    ],
    ids=lambda value: value.test if isinstance(value, Reached) else "",
)
def test_a_size_is_better_within_or_worse(one, sizes):
    """Of draws and nats told more is better; of a width what is nearer to one, on either side."""
    assert {one.beside(size): size for size in sizes.values()} == sizes


def test_a_range_is_said_with_its_unit():
    assert known("tightness", 4.0, 6.25).said() == "4 to 6.25 nats"
    assert known("pareto k", 0.9, 0.9).said() == "k̂ 0.9"
    assert known("effective draws", 1.0, 12.5).said() == "1 to 12.5 % of draws"


def test_a_sentence_says_where_the_model_is_worse():
    good = GoodModels("letters", {one.test: one for one in (known("tightness", 4, 6), known("width", 0.6, 0.9))})
    assert good.sentence(findings(tightness=9.0, width=0.7)) == (
        "Beside good models of letters: worse in tightness, within their range in 1 of 2 tests."
    )


def test_a_code_that_says_nothing_is_not_praised():
    good = GoodModels("letters", {"tightness": known("tightness", 4, 6)})
    said = good.sentence(findings("fail", tightness=0.1))
    assert "better in tightness" in said
    assert "better is worth nothing here" in said
    assert "worth" not in good.sentence(findings(tightness=0.1))


def test_of_unknown_data_the_page_says_what_to_do():
    assert GoodModels().sentence(findings(tightness=9.0)) == UNKNOWN
    assert GoodModels().beside(findings(tightness=9.0)) == {}
    assert "compare two runs of your own" in UNKNOWN
