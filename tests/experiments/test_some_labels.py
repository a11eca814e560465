"""A label known of some images: what the pair is told, what an epoch visits, and what is said of it at the end."""

import numpy as np
import pytest
import torch
import xarray as xr
from omegaconf import DictConfig, OmegaConf

from experiments.some_labels import accuracy, label_of, named, repeated, told, untold
from guides import SemiSupervisedNormal
from ppvae import UserError
from ppvae.datasets import ImageDataset, factor
from ppvae.models import UNKNOWN
from ppvae.networks import MLPEncoder

SHAPE = (1, 2, 2)


def group(**changes) -> DictConfig:
    settings = {"factor": "kind", "known": None, "unknown": "unlabelled", "share": 0.25}
    return OmegaConf.create({**settings, **changes})


def images_of(kinds: list[int], values: list) -> ImageDataset:
    pixels = (2 + torch.arange(len(kinds), dtype=torch.uint8))[:, None, None, None].expand(-1, *SHAPE)
    return ImageDataset(pixels.contiguous(), {"kind": factor(kinds, values), "size": np.linspace(0.1, 0.7, len(kinds))})


def known_of(data: ImageDataset) -> list[int]:
    (known,) = data.inputs.values()
    return known.tolist()


def test_the_level_that_says_none_is_no_level():
    """It may stand anywhere among the others, whose numbers close the gap."""
    data = images_of([0, 1, 2, 1, 2], ["cat", "unlabelled", "zebra"])
    label = label_of(data, group())
    assert label.values.tolist() == [0, UNKNOWN, 1, UNKNOWN, 1]
    assert label.attrs == {"levels": 2, "values": ["cat", "zebra"]}
    assert label_of(data, group(unknown=None)).values.tolist() == [0, 1, 2, 1, 2]
    assert known_of(told(data, group(), 0)) == [0, UNKNOWN, 1, UNKNOWN, 1]
    assert known_of(untold(data, group())) == [UNKNOWN] * 5


def test_as_many_of_each_level_are_known_others_by_another_seed():
    kinds = [0, 1, 2, 3] * 10
    data = images_of([*kinds, 1, 2], ["a", "unlabelled", "b", "c"])
    found = [np.array(known_of(told(data, group(known=8), seed))) for seed in (0, 0, 1)]
    for known in found:
        assert [int((known == level).sum()) for level in range(3)] == [3, 3, 2]
        right = label_of(data, group()).values
        assert ((known == UNKNOWN) | (known == right)).all()
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()


def test_labelled_images_are_repeated_until_they_are_the_share():
    """Each image once, then the labelled in turn: of 97 + 3, 29 more make (29 + 3) / 129, a quarter to one image."""
    data = told(images_of([0, 1, 2] + [3] * 97, ["a", "b", "c", "unlabelled"]), group(), 0)
    again = repeated(data, group())
    known = np.array(known_of(again))
    labelled = (known != UNKNOWN).sum()
    assert again.table["image"].values[:100].tolist() == list(range(100))
    assert abs(labelled / len(again) - 0.25) < 1 / len(again)
    assert {int((known == level).sum()) for level in range(3)} <= {labelled // 3, labelled // 3 + 1}
    assert repeated(data, group(share=None)) is data
    assert repeated(data, group(share=0.03)) is data


def test_accuracy_is_of_the_images_that_have_a_label():
    label = xr.DataArray([0, 1, 1, UNKNOWN, 0], dims="image", attrs={"levels": 2, "values": ["a", "b"]})
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [1.0, 0.0]])
    found = accuracy(probabilities, label)
    assert found["counts"].sel(label="a").values.tolist() == [2, 0]
    assert found["counts"].sel(label="b").values.tolist() == [1, 1]
    assert float(found["score"]) == 0.75
    assert np.isnan(accuracy(probabilities, label.copy(data=[UNKNOWN] * 5))["score"])


def test_the_classifier_is_asked_in_parts():
    torch.manual_seed(0)
    guide = SemiSupervisedNormal(MLPEncoder(SHAPE, hidden=[3]), MLPEncoder(SHAPE, hidden=[3]), 3, 2)
    data = images_of([0, 1, 2] * 3, ["a", "b", "c"])
    expected = guide.logits(guide.classifier(data.observed())).softmax(-1)
    torch.testing.assert_close(named(guide.classify, data, 4, torch.device("cpu")), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factor": "label"}, "labels.factor=label: expected a factor of these images, of which there are kind, size"),
        ({"factor": "size"}, "labels.factor=size: a continuous factor, expected one of levels"),
        ({"unknown": "a"}, r"labels.factor=kind: its levels are \['b'\], expected two or more"),
        ({"known": 1}, "labels.known=1"),
        ({"known": 9}, "labels.known=9 takes 4 images of each level, and kind=b has 3; give fewer, or null for all"),
    ],
)
def test_wrong_words_are_one_line(changes, message):
    data = images_of([0, 0, 0, 0, 0, 1, 1, 1], ["a", "b"])
    with pytest.raises(UserError, match=message) as caught:
        told(data, group(**changes), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 1.0, 1, "half", True])
def test_a_share_is_a_share(share):
    data = told(images_of([0, 1], ["a", "b"]), group(), 0)
    with pytest.raises(UserError, match=r"labels\.share="):
        repeated(data, group(share=share))


def test_no_label_at_all_is_said():
    with pytest.raises(UserError, match="no image of the training has one"):
        repeated(untold(images_of([0, 1], ["a", "b"]), group()), group())
