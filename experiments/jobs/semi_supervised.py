"""A pair that knows some labels beside a classifier that knows these alone (Kingma et al. 2014, Table 1)."""

from pathlib import Path
from typing import cast

import torch
from omegaconf import DictConfig
from torch import nn
from torch.nn.functional import cross_entropy

from guides import SemiSupervisedNormal
from guides.encoders import feature_count
from ppvae import UserError
from ppvae.datasets import ImageDataset
from ppvae.models import UNKNOWN
from ppvae.nouns import Noun
from ppvae.pair.untouched import device_of

from ..assemble import Parts, images_apart
from ..labels import labelled, metric_labels
from ..pairs import built
from ..some_labels import accuracy, label_of, named
from ..training import train_and_evaluate

__all__ = ["classifier_of", "train_beside_classifier"]

STEPS = 1000  # of the classifier alone: its training error is zero long before
BATCH = 100
LEARNING_RATE = 1e-3


def _errors_named(noun: Noun) -> dict[str, str]:
    return {
        "label_error": f"error of the pair's classifier, test {noun.many} (per cent)",
        "label_error_alone": "error of the same classifier, taught the known labels alone (per cent)",
    }


@labelled(lambda noun: _errors_named(noun) | (metric_labels(train_and_evaluate, noun) or {}))
def train_beside_classifier(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """As a study's ``measure``: the run, and the same classifier trained on the images whose label is known."""
    if configuration.get("labels") is None or configuration.labels.images == 0:
        raise UserError("this study is of labels known for some; give labels=some, with labels.images above 0")
    train_and_evaluate(configuration, directory, resume=resume, measure=_errors)


def _errors(parts: Parts, configuration: DictConfig) -> dict[str, float]:
    test = cast(ImageDataset, images_apart(configuration, "labels.images", configuration.labels.images))
    guide = cast(SemiSupervisedNormal, parts.guide)
    label, device = label_of(test, configuration.labels), device_of(guide)
    alone = classifier_of(parts, configuration).to(device)
    wrong = {}
    for name, classify in (("label_error", guide.classify), ("label_error_alone", alone)):
        found = accuracy(named(classify, test, configuration.held_out.batch_size, device), label)
        wrong[name] = 100 * (1 - float(found["score"]))
    return wrong


def classifier_of(parts: Parts, configuration: DictConfig) -> nn.Module:
    """The pair's classifier, initialised anew and taught the labels that the pair was told, by cross-entropy.

    Gives logits (image, level). Each step is of 100 images drawn with replacement, with noise of their own where the
    pair sees them with such.
    """
    (known,) = parts.data.inputs.values()
    labelled_images = torch.nonzero(known != UNKNOWN)[:, 0]
    told, labels = parts.data.subset(labelled_images), known[labelled_images]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        features = built(configuration.labels.classifier, nn.Module)
        classifier = nn.Sequential(features, nn.Linear(feature_count(features), configuration.labels.levels))
        adam = torch.optim.Adam(classifier.parameters(), LEARNING_RATE)
        for step in range(STEPS):
            some = torch.randint(len(told), (BATCH,))
            adam.zero_grad()
            cross_entropy(classifier(told.observed(some, seed=step)), labels[some]).backward()
            adam.step()
    return classifier.eval()
