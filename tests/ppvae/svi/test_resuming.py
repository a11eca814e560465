"""What a run may be resumed with: the very settings, data and objective that it was trained with, and nothing else."""

import math
import re
from pathlib import Path

import pytest
import torch
import xarray as xr

from guides import MeanFieldNormal
from ppvae import (
    VAE,
    Annealed,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    Objective,
    SoftFreeBits,
    TotalCorrelation,
    UserError,
    fit,
)
from ppvae.datasets import ImageDataset
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.terms import Terms
from ppvae.priors import NormalPrior
from ppvae.svi import Plateau
from ppvae.svi.run import check_same

SHAPE, LATENTS = (1, 4, 4), 2
GREY = torch.randint(0, 256, (24, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
DATA = ImageDataset(GREY)
STATIC = ImageDataset(GREY, binarise="static")


def make_pair() -> tuple[VAE, MeanFieldNormal]:
    torch.manual_seed(0)
    model = VAE(NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, (8,)), 0.3))
    return model, MeanFieldNormal(MLPEncoder(SHAPE, (8,)), LATENTS)


def train(directory: Path, data: ImageDataset = DATA, objective=None, pair=None, **options) -> xr.Dataset:
    arguments = {"epochs": 1, "batch_size": 8, "compile": False, "accelerator": "cpu", "progress": False}
    pair = pair or make_pair()
    return fit(*pair, data, objective, directory=directory, **arguments | options).drop_vars(
        ["seconds", "images_per_second"]
    )


OTHERS = {
    "seed": ({}, {"seed": 1}, "seed=0, now it is 1"),
    "batch size": ({}, {"batch_size": 6}, "batch_size=8, now it is 6"),
    "learning rate": ({}, {"learning_rate": 1e-2}, "learning_rate=0.001, now it is 0.01"),
    "number of images": ({}, {"data": DATA.subset(slice(20))}, "images=24, now it is 20"),
    "binarised": ({}, {"data": STATIC}, "binarise=none, now it is static"),
    "no longer binarised": ({"data": ImageDataset(GREY, binarise="dynamic")}, {}, "binarise=dynamic, now it is none"),
    "dequantised": ({}, {"data": ImageDataset(GREY, dequantise="uniform")}, "dequantise=none, now it is uniform"),
    "threshold": (
        {"data": STATIC},
        {"data": ImageDataset(GREY, binarise="static", threshold=0.4)},
        "threshold=0.5, now it is 0.4",
    ),
    "objective": ({"objective": FreeBits()}, {}, "objective=FreeBits, now it is BetaELBO"),
    "beta": ({}, {"objective": BetaELBO(beta=2.0)}, r"objective\.beta=None, now it is 2\.0"),
    "estimator": ({}, {"objective": BetaELBO(estimator="trace")}, r"objective\.estimator='auto', now it is 'trace'"),
    "nats": ({"objective": FreeBits(nats=0.1)}, {"objective": FreeBits(nats=0.2)}, r"objective\.nats=0\.1"),
    "group": ({"objective": FreeBits()}, {"objective": FreeBits(group="site")}, r"objective\.group='latent'"),
    "capacity": (
        {"objective": Capacity(stop=3.0, steps=10)},
        {"objective": Capacity(stop=4.0, steps=10)},
        r"objective\.stop=3\.0, now it is 4\.0",
    ),
    "schedule's steps": (
        {"objective": Annealed(objective=BetaELBO(), steps=10)},
        {"objective": Annealed(objective=BetaELBO(), steps=20)},
        r"objective\.steps=10, now it is 20",
    ),
    "what is annealed": (
        {"objective": Annealed(objective=BetaELBO(beta=2.0))},
        {"objective": Annealed(objective=BetaELBO(beta=3.0))},
        r"objective\.objective=BetaELBO\(.*now it is BetaELBO",
    ),
    "samples": (
        {"objective": ImportanceWeighted(samples=2)},
        {"objective": ImportanceWeighted(samples=3)},
        r"objective\.samples=2, now it is 3",
    ),
    "a part's weight": (
        {"objective": TotalCorrelation()},
        {"objective": TotalCorrelation(beta=3.0)},
        r"objective\.beta=6\.0, now it is 3\.0",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_refused_by_the_name_of_what_changed(name, tmp_path):
    then, now, said = OTHERS[name]
    train(tmp_path, **then)
    with pytest.raises(UserError, match=f"was trained with .*{said}") as caught:
        train(tmp_path, epochs=2, resume=True, **now)
    assert re.fullmatch(r".*give the same to resume", str(caught.value))


@pytest.mark.parametrize("interrupted_after", [1, 3])
def test_a_state_of_the_objective_and_the_optimisers_moments_come_back(interrupted_after, tmp_path):
    """Soft free bits move their weight from step to step; Adam's moments decide the first steps after a pause."""
    objective = SoftFreeBits(nats=0.5)
    pair, resumed = make_pair(), make_pair()
    whole = train(tmp_path / "whole", objective=objective, pair=pair, epochs=4, learning_rate=1e-2)
    train(tmp_path / "parts", objective=objective, epochs=interrupted_after, learning_rate=1e-2)
    options = {"pair": resumed, "epochs": 4, "learning_rate": 1e-2, "resume": True}
    found = train(tmp_path / "parts", objective=objective, **options)
    assert found.identical(whole)
    assert all(map(torch.equal, pair[1].parameters(), resumed[1].parameters()))


class Spoilt(Objective):
    """The ELBO, whose loss becomes ``value`` in the second epoch."""

    def __init__(self, value: float) -> None:
        self.value = value

    def numbers(self, step: int) -> tuple[float, ...]:
        return (0.0 if step < 4 else self.value,)

    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: float = 1.0) -> torch.Tensor:
        return (terms.distortion + warmth * terms.rate).mean() + numbers[0]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_no_number_ends_the_run_and_the_last_epoch_stays(value, tmp_path):
    with pytest.raises(UserError, match=f"the loss became {value} in step 2 of epoch 2; lower learning_rate"):
        train(tmp_path, objective=Spoilt(value), epochs=3)
    assert len(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["history"]["loss"]["rows"]) == 1


@pytest.mark.parametrize("interrupted_after", range(1, 8))
def test_a_plateau_counts_on_from_where_it_was(interrupted_after, tmp_path):
    """Losses that always count as stable: three epochs a window, two drops, so nine epochs and no more."""
    rule = Plateau(window=3, tolerance=1e6, factor=0.5, drops=2)
    train(tmp_path, epochs=interrupted_after, stopping=rule)
    found = train(tmp_path, epochs=30, stopping=rule, resume=True)
    assert found["learning_rate"].values.tolist() == [1e-3] * 3 + [5e-4] * 3 + [2.5e-4] * 3
    again = train(tmp_path, epochs=40, stopping=rule, resume=True)
    assert again.identical(found)


def test_a_word_of_the_recipe_that_a_checkpoint_does_not_know_stood_at_its_default(tmp_path):
    """As of a run before there was such a word."""
    then = {"seed": 0, "recipe.average": "None"}
    check_same(tmp_path, then, {**then, "recipe.flip": "False"}, earlier_format=False)
    with pytest.raises(UserError, match=r"was trained with recipe\.flip=False, now it is True"):
        check_same(tmp_path, then, {**then, "recipe.flip": "True"}, earlier_format=False)
