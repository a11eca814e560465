"""A classifier of images' labels, to read what a redrawn image still shows."""

from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from tqdm.auto import tqdm

from ppvae import UserError
from ppvae.datasets import ImageDataset
from ppvae.files import replace_atomically

from ...assemble import training_data

__all__ = ["Classifier", "accuracy", "labels_of", "load", "prepare"]

WIDTHS = (24, 48, 64)
HIDDEN = 128
BATCH = 100
LEARNING_RATE = 4e-3  # at the cycle's top


class Classifier(nn.Module):
    """Three blocks of a 3 × 3 convolution, batch norm, ReLU and pooling, then two layers: images to logits.

    Shapes: images (image, C, H, W) in [0, 1] → (image, label).
    """

    def __init__(self, image_shape: tuple[int, int, int], labels: int) -> None:
        super().__init__()
        channels, rows, columns = image_shape
        blocks = []
        for before, after in zip((channels, *WIDTHS), WIDTHS, strict=False):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        features = WIDTHS[-1] * (rows // 8) * (columns // 8)
        head = [nn.Flatten(), nn.Linear(features, HIDDEN), nn.ReLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, labels)]
        self.layers = nn.Sequential(*blocks, *head)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(2 * images - 1)


def labels_of(data: ImageDataset) -> torch.Tensor:
    """Each image's label, (image,); UserError where the data have none."""
    if data.factors is None or "label" not in data.factors or data.factors["label"].dtype.kind == "f":
        raise UserError(f"{data.description} have no factor 'label' with levels; give data whose images are labelled")
    return torch.from_numpy(data.factors["label"].values).long()


def accuracy(classifier: Classifier, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose label the classifier names."""
    with torch.no_grad():
        return float((torch.cat([classifier(some) for some in images.split(500)]).argmax(1) == labels).float().mean())


def prepare(configuration: DictConfig, directory: Path) -> None:
    """Train the classifier on the training split alone, as the study's ``classifier.pt``, where there is none yet."""
    path = directory / "classifier.pt"
    if path.is_file():
        return
    data, _ = training_data(configuration)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        classifier = _trained(data, configuration.classifier.epochs, progress=configuration.trainer.progress)
    shape, labels = list(data.image_shape), classifier.layers[-1].out_features
    content = {"image_shape": shape, "labels": labels, "state": classifier.state_dict()}
    replace_atomically(path, lambda temporary: torch.save(content, temporary))


def load(directory: Path) -> Classifier:
    """The classifier that :func:`prepare` left in the study's directory, in evaluation mode."""
    content = torch.load(directory / "classifier.pt", weights_only=True)
    classifier = Classifier(tuple(content["image_shape"]), content["labels"])
    classifier.load_state_dict(content["state"])
    return classifier.eval()


def _trained(data: ImageDataset, epochs: int, *, progress: bool) -> Classifier:
    labels = labels_of(data)
    classifier = Classifier(data.image_shape, int(labels.max()) + 1).train()
    steps = len(data) // BATCH
    if steps == 0:
        raise UserError(f"{len(data)} training images are fewer than a batch of {BATCH}; the classifier needs more")
    adam = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE)
    schedule = OneCycleLR(adam, LEARNING_RATE, total_steps=epochs * steps)
    with tqdm(total=epochs * steps, desc="classifier", unit="step", disable=not progress) as bar:
        for _ in range(epochs):
            for index in torch.randperm(len(data)).split(BATCH)[:steps]:
                loss = functional.cross_entropy(classifier(data.observed(index)), labels[index])
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
                bar.update()
    return classifier.eval()
