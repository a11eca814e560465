"""Labels known for some, as a user types it: a folder with a table of which half is empty, and the study's measure."""

import json
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from torch.nn.functional import cross_entropy

from experiments.assemble import assemble
from experiments.jobs import single
from experiments.jobs.semi_supervised import classifier_of, train_beside_classifier
from experiments.training import check_same_configuration
from ppvae import UserError
from ppvae.models import UNKNOWN

KINDS = ("long", "round", "star")
SMALL = [
    *("labels=some", "labels.factor=kind", "guide=semi_supervised", "prior=normal", "latents=2", "network=mlp"),
    *(
        "network.encoder.hidden=[16]",
        "network.decoder.hidden=[16]",
        "likelihood.scale=0.1",
        "trainer.learning_rate=0.01",
    ),
    *("trainer.compile=false", "trainer.progress=false", "trainer.accelerator=cpu", "trainer.stopping=null"),
    *("information.images=0", "diagnosis.images=0", "trainer.batch_size=40"),
]
IMAGES, LABELLED = 240, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures with a bright row at a place for each kind; of the first thirty the table has the kind."""
    top, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    kinds = np.arange(IMAGES) % 3
    for number, kind in enumerate(kinds):
        pixels = random.integers(0, 60, (4, 6)) + random.integers(0, 60)
        pixels[kind] += 100
        Image.fromarray(pixels.astype(np.uint8)).save(top / f"{number:03}.png")
    table = pd.DataFrame({"file": [f"{number:03}.png" for number in range(IMAGES)], "truth": [KINDS[k] for k in kinds]})
    table["kind"] = table["truth"].where(table.index < LABELLED)
    table.to_csv(top / "labels.csv", index=False)
    return top


def composed(folder: Path, *overrides: str) -> DictConfig:
    data = ["data=image_folder", f"data.path={folder}", f"data.table={folder / 'labels.csv'}", "data.unlabelled=keep"]
    return hydra.compose("config", ["name=run", *data, *SMALL, *overrides])


def test_the_codes_name_the_labels_of_the_others(folder, tmp_path, capsys):
    """In 30 epochs all but a few; each image stands once in the table, though an epoch visits labelled ones again."""
    configuration = composed(folder, "trainer.epochs=30", "validation=0.2")
    single.run(configuration, tmp_path)
    codes = pd.read_csv(tmp_path / "codes.csv", index_col="image")
    assert codes.index.tolist() == list(range(IMAGES))
    assert int(codes["known_kind"].sum()) == int((codes["part"][:LABELLED] == "train").sum())
    assert (codes["named_kind"] == codes["truth"]).mean() > 0.95
    assert codes["named_probability"].between(1 / 3, 1).all()
    apart = LABELLED - int(codes["known_kind"].sum())  # of the validation, of which all are judged that have a label
    assert f"of {apart} test images rightly" in capsys.readouterr().out
    assert {"labels.svg", "samples_by_label.svg"} <= {path.name for path in (tmp_path / "figures").iterdir()}
    assert 0 <= json.loads((tmp_path / "metrics.json").read_text())["label_accuracy"] <= 1


@pytest.mark.long
def test_a_classifier_alone_learns_the_labels_that_the_pair_was_told(folder):
    """Of those its cross-entropy falls to nothing; it starts as any new one, whatever was drawn before."""
    configuration = composed(folder, "labels.images=0", "labels.factor=truth", "labels.known=12")
    parts = assemble(configuration)
    state = torch.get_rng_state()
    classifier, again = (classifier_of(parts, configuration) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    known = parts.data.inputs["known_truth"]
    told = torch.nonzero(known != UNKNOWN)[:, 0]
    with torch.no_grad():
        assert float(cross_entropy(classifier(parts.data.observed(told)), known[told])) < 0.02
        torch.testing.assert_close(again(parts.data.observed(told)), classifier(parts.data.observed(told)))


def test_the_study_measures_both_errors(folder, tmp_path):
    """By the share of validation images that each names wrongly: hundredths of fifty."""
    words = ["labels.factor=truth", "labels.known=12", "labels.images=24", "trainer.epochs=1"]
    train_beside_classifier(composed(folder, *words), tmp_path, resume=False)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["label_error"] == pytest.approx(100 * (1 - metrics["label_accuracy"]))
    for name in ("label_error", "label_error_alone"):
        assert metrics[name] * 24 / 100 == pytest.approx(round(metrics[name] * 24 / 100))
    assert metrics["label_error_alone"] < 25
    check_same_configuration(composed(folder, *words), tmp_path)  # levels are filled in, and no other configuration
    with pytest.raises(UserError, match=r"made with labels\.known=12, now it is 15"):
        check_same_configuration(composed(folder, *words, "labels.known=15"), tmp_path)
    with pytest.raises(UserError, match=r"give labels=some, with labels\.images above 0"):
        train_beside_classifier(composed(folder, "labels.images=0"), tmp_path / "other", resume=False)
