"""``select=path``: which latents a run keeps, that it goes on from there, and what cannot be selected."""

import json
import math

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from omegaconf import DictConfig, OmegaConf

from experiments import fitting
from experiments.assemble import assemble
from experiments.checks import check_settings
from experiments.figures import figures_of_selection
from experiments.selecting import Selected, read_selected, selected, trained_parts
from experiments.training import train_and_evaluate
from ppvae import UserError
from ppvae.selection.selecting import pair_of_level

SMALL = [
    *("data.size=64", "data.image_size=32", "latents=3", "prior=normal", "guide=mean_field"),
    *("network=mlp", "network.encoder.hidden=[16]", "network.decoder.hidden=[16]"),
    *("validation=null", "trainer.stopping=null", "trainer.epochs=2", "trainer.batch_size=16", "trainer.compile=false"),
    *("trainer.progress=false", "trainer.accelerator=cpu", "information.images=0", "diagnosis.images=0"),
    *("posterior.images=32", "posterior.draws=2", "posterior.ablation_images=8"),
]
SELECT = ["select=path", "select.levels=4", "select.epochs=4", "select.images=32", "select.ablated=8"]


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", [*SMALL, *SELECT, *overrides])


def with_latents(monkeypatch, *into: int) -> None:
    """Paths are what they are but for which latents are in from the second level on."""
    followed = fitting.path

    def path(*args, **options) -> xr.Dataset:
        found = followed(*args, **options)
        rule = np.zeros(found.by_ablation.shape, bool)
        rule[1:, list(into)] = True
        return found.assign(by_ablation=(("level", "latent"), rule))

    monkeypatch.setattr(fitting, "path", path)


def test_a_run_trains_the_pair_that_the_path_keeps(tmp_path, monkeypatch):
    with_latents(monkeypatch, 0, 2)
    configuration = composed()
    parts, _, evaluation = train_and_evaluate(configuration, tmp_path, resume=False)
    chosen, metrics = read_selected(tmp_path), json.loads((tmp_path / "metrics.json").read_text())
    assert chosen.kept == [0, 2]
    assert chosen.said().startswith("The path keeps 2 of 3 latents, from σ√β = ")
    assert metrics["latents_kept"] == evaluation.counted == 2
    assert metrics["path_seconds"] > 0
    assert parts.guide.log_variance.out_features == 2
    assert OmegaConf.load(tmp_path / "config.yaml").latents == 3  # it says what was asked for
    (figure,) = figures_of_selection(chosen)
    assert "z0, z2" in figure.caption


def test_what_a_run_kept_is_read_again_and_not_followed_again(tmp_path, monkeypatch):
    """Two epochs, then two more from the checkpoint are those of a run of four; the path is that of the first."""
    with_latents(monkeypatch, 1)
    train_and_evaluate(composed(), tmp_path / "parted", resume=False)
    whole = train_and_evaluate(composed("trainer.epochs=4"), tmp_path / "whole", resume=False)
    monkeypatch.setattr(fitting, "path", None)
    parts, history, _ = train_and_evaluate(composed("trainer.epochs=4"), tmp_path / "parted", resume=True)
    np.testing.assert_allclose(history["loss"], whole[1]["loss"], rtol=1e-6)
    again = trained_parts(tmp_path / "parted", composed())
    for own, read in ((parts.model, again.model), (parts.guide, again.guide)):
        for name, values in own.state_dict().items():
            assert torch.equal(values, read.state_dict()[name])


def test_the_kept_pair_is_that_of_the_plateaus_last_level(tmp_path, monkeypatch):
    with_latents(monkeypatch, 2, 0)
    configuration = composed()
    parts = selected(assemble(configuration), configuration, tmp_path)
    chosen, whole = read_selected(tmp_path), assemble(configuration)
    assert int(chosen.plateau["last"]) == 3
    model, guide, _ = pair_of_level(
        whole.model, whole.guide, whole.data, chosen.path, chosen.plateau, tmp_path / "path"
    )
    z, images = torch.randn(4, 2), parts.data.observed(slice(4))
    torch.testing.assert_close(parts.model.likelihood.decoder(z), model.likelihood.decoder(z))
    torch.testing.assert_close(parts.guide.encoder(images), guide.encoder(images))


def test_an_aligned_path_is_of_the_total_correlation(tmp_path, monkeypatch):
    """Its parts are in the path's history, and the run's own objective trains what is left."""
    with_latents(monkeypatch, 0, 2)
    configuration = composed("select=aligned_path")
    _, history, _ = train_and_evaluate(configuration, tmp_path, resume=False)
    assert "total_correlation" in pd.read_csv(tmp_path / "path" / "history.csv")
    assert "total_correlation" not in history


def test_all_latents_are_kept_where_no_number_holds(tmp_path, monkeypatch):
    with_latents(monkeypatch)
    configuration = composed()
    parts = selected(assemble(configuration), configuration, tmp_path)
    chosen = read_selected(tmp_path)
    assert chosen.kept == [0, 1, 2]
    assert parts.guide.log_variance.out_features == 3
    assert chosen.said().startswith("The path keeps all 3 latents, as no number of latents holds")


def test_a_run_without_a_selection_has_none(tmp_path):
    configuration = hydra.compose("config", SMALL)
    parts = assemble(configuration)
    assert selected(parts, configuration, tmp_path) is parts
    assert read_selected(tmp_path) is None
    assert figures_of_selection(None) == []


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["guide=iaf"], "the guide makes its latents otherwise"),
        (["likelihood=logistic"], "start: where the first latent enters is known for normal pixels"),
    ],
)
def test_what_cannot_be_selected_is_said_before_any_training(words, match, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "path", None)
    with pytest.raises(UserError, match=match) as error:
        train_and_evaluate(composed(*words), tmp_path, resume=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize("experiment", ["latent_path", "capacity_sprites", "samples", "stability"])
def test_jobs_that_would_pass_it_over_refuse_it(experiment):
    words = [f"experiment={experiment}", "select=path"]
    with pytest.raises(UserError, match=r"select: experiments\.jobs\..* does not train as the main job does"):
        check_settings(hydra.compose("config", words), words)


def test_a_sentence_for_one_latent():
    path = xr.Dataset(
        {"by_ablation": (("level", "latent"), [[False, False], [True, False], [True, False]])},
        coords={"weight": ("level", [4.0, 2.0, 1.0]), "latent": [0, 1]},
    )
    assert Selected(path, [0]).said() == "The path keeps 1 of 2 latents, from β = 2 to 1, where the path ends"
    assert math.isclose(float(Selected(path, [0]).plateau["width"]), 0.5 * math.log(2))
