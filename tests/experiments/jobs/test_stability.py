"""Runs that diverge are measured, not failed; what is wrong before a training stays a mistake."""

import json
import math

import hydra
import pandas as pd
import pytest

from experiments.jobs.stability import figures, stability, train_and_watch
from ppvae import UserError

SMALL = [
    *("data.size=48", "data.image_size=32", "latents=2", "network=small_conv", "prior=normal", "guide=mean_field"),
    *("validation=null", "trainer.stopping=null", "trainer.epochs=3", "trainer.batch_size=16", "trainer.compile=false"),
    *("trainer.progress=false", "trainer.accelerator=cpu", "recipe=adamax", "penalty=nvae", "objective=balanced"),
]


def history(costs, norms=None, **more) -> pd.DataFrame:
    norms = norms or [1.0] * len(costs)
    return pd.DataFrame(
        {"elbo": [-cost for cost in costs], "largest_gradient_norm": norms, "seconds": 1.0, **more},
    )


@pytest.mark.parametrize(
    ("costs", "diverged"),
    [
        ([300, 100, 90, 95], 0),
        ([300, 100, 90, 179], 0),
        ([300, 100, 90, 181], 1),
        ([300, 100, math.nan], 1),
        ([10, -200, -50], 0),  # a density may be above one
        ([10, -200, 1], 1),
    ],
)
def test_a_run_diverges_by_the_last_epoch_beside_the_best(costs, diverged):
    assert stability(history(costs))["diverged"] == diverged
    assert stability(history(costs), ended="the loss became nan")["diverged"] == 1


def test_extremes_are_over_all_epochs():
    found = stability(history([3.0, 1.0, 2.0], [900.0, 5.0, 7.0], skipped=[4, 0, 1]))
    assert found == {
        **{"diverged": 0, "final_negative_elbo": 2.0, "best_negative_elbo": 1.0, "epochs": 3, "seconds": 3.0},
        **{"largest_gradient_norm": 900.0, "largest_gradient_norm_later": 7.0, "skipped": 5.0},
    }
    assert stability(pd.DataFrame(), "the loss became inf") == {"diverged": 1.0, "epochs": 0}


def watched(directory, *overrides):
    configuration = hydra.compose("config", [*SMALL, *overrides])
    directory.mkdir(parents=True)
    train_and_watch(configuration, directory, resume=False)
    return json.loads((directory / "metrics.json").read_text())


def test_a_divergence_is_a_number(tmp_path):
    """By a learning rate that no network bears, and of one that learns; the figures are of those with epochs."""
    calm = watched(tmp_path / "calm" / "seed0", "recipe.warmup=0", "trainer.learning_rate=0.001")
    assert (calm["diverged"], calm["epochs"], calm["ended"]) == (0, 3, None)
    assert calm["best_negative_elbo"] <= calm["final_negative_elbo"]
    wild = watched(tmp_path / "wild" / "seed0", "recipe.warmup=0", "trainer.learning_rate=1e30")
    assert wild["diverged"] == 1
    assert "the loss became" in wild["ended"]
    study = hydra.compose("config", ["+seeds=[0]", "+models={calm: [], wild: []}"])
    (figure,) = figures(study, tmp_path)
    assert figure.title == "Rate and distortion: calm"


def test_a_mistake_is_no_divergence(tmp_path):
    with pytest.raises(UserError, match="no convolution"):
        watched(tmp_path / "run", "network=mlp")
    assert not list((tmp_path / "run").iterdir())
