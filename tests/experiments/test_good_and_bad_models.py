"""The benchmark of grades: its models can be composed, a guide is widened exactly, ranges are of good models alone."""

from pathlib import Path

import hydra
import pandas as pd
import pytest
import torch

from experiments.benchmarks.grades import DATA, good_ranges, told_apart, widened, words_of
from experiments.reached import ALONE, COLUMNS
from guides import MeanFieldNormal
from ppvae.networks import MLPEncoder


@pytest.mark.parametrize("data", DATA)
def test_a_model_of_another_family_is_of_the_same_data(data):
    words = words_of(data, "another family", 3, Path("elsewhere"))
    found = hydra.compose("config", words)
    assert found.seed == 3
    assert data == "sprites" or "elsewhere" in (found.data.get("root") or found.data.path)
    family = {"NormalLikelihood", "BernoulliLikelihood"} - {found.likelihood._target_.rpartition(".")[2]}
    assert family == {"BernoulliLikelihood" if data == "binarised MNIST" else "NormalLikelihood"}
    assert {*words_of(data, "good", 3, Path("elsewhere"))} < {*words}


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_widened_guide_keeps_its_means(factor):
    guide, images = MeanFieldNormal(MLPEncoder((1, 4, 4), (8,)), 3), torch.rand(5, 1, 4, 4)
    before = guide.posterior(images).base_dist
    widened(guide, factor)
    after = guide.posterior(images).base_dist
    torch.testing.assert_close(after.scale, factor * before.scale)
    torch.testing.assert_close(after.loc, before.loc)


def test_ranges_are_of_good_models_and_of_what_compares():
    rows = [
        *[("letters", "good", "tightness", 4.0), ("letters", "good, full covariance", "tightness", 3.0)],
        *[("letters", "one epoch", "tightness", 9.0), ("letters", "good", "width", float("nan"))],
        ("letters", "good", "active latents", 7.0),
    ]
    found = good_ranges(pd.DataFrame(rows, columns=["data", "model", "test", "size"]), 100)
    assert found.to_dict("records") == [
        dict(zip(COLUMNS, ("letters", ALONE, "tightness", 3.0, 4.0, "nats", 100, 2, "grades"), strict=True))
    ]


def test_a_good_model_is_beside_those_of_other_seeds_and_a_bad_one_beside_all():
    sizes = [("good", 0, 4.0, "moderate"), ("good", 1, 6.0, "moderate"), ("one epoch", 0, 9.0, "large")]
    rows = [("letters", model, seed, "tightness", size, "fail", grade) for model, seed, size, grade in sizes]
    found = told_apart(pd.DataFrame(rows, columns=["data", "model", "seed", "test", "size", "verdict", "grade"]), 100)
    assert found["worse"].tolist() == ["", "tightness", "tightness"]
    assert found["better"].tolist() == ["tightness", "", ""]
    assert found["fail"].tolist() == [1, 1, 1]
    assert found["large or extreme"].tolist() == [0, 0, 1]
