"""What a path's run keeps and tells, of a path with a plateau and of one without."""

import json

import hydra
import numpy as np
import pytest
import xarray as xr

from experiments import fitting
from experiments.jobs.latent_path import figures, follow
from ppvae import read_posterior
from ppvae.selection import chosen_plateau, say_plateau

MLP = ("network=mlp", "network.encoder.hidden=[16]", "network.decoder.hidden=[16]")
SMALL = [
    *("data.size=64", "data.image_size=32", "latents=3", *MLP, "prior=normal", "guide=mean_field"),
    *("validation=null", "trainer.stopping=null", "trainer.epochs=4", "trainer.batch_size=16", "trainer.compile=false"),
    *("trainer.progress=false", "trainer.accelerator=cpu"),
    "+path={levels: 4, start: null, stop: null, images: 32, ablated: 16}",
]


def followed(directory, *overrides: str) -> dict:
    configuration = hydra.compose("config", [*SMALL, *overrides])
    directory.mkdir(parents=True, exist_ok=True)
    follow(configuration, directory, resume=(directory / "checkpoint.pt").is_file())
    return json.loads((directory / "metrics.json").read_text())


def test_a_path_is_kept_and_goes_on(tmp_path):
    """Untrained as it is, nothing holds; what is there is not trained again."""
    run = tmp_path / "sprites" / "seed0"
    metrics = followed(run)
    found = read_posterior(run / "path.zarr").to_dataset().load()
    assert found.sizes["level"] == 4
    assert metrics["in_at_last"] == int(found.by_ablation[-1].sum())
    assert len(list((run / "levels").glob("*.pt"))) == 4
    assert (run / "path.csv").read_text().count("\n") == 1 + 4 * 3
    again = followed(run)
    assert {**again, "seconds": 0} == {**metrics, "seconds": 0}


def two_in(trained):
    """The path that was trained, with latents 0 and 2 in from the second level on."""

    def path(*args, **options) -> xr.Dataset:
        found = trained(*args, **options)
        rule = np.zeros(found.by_ablation.shape, bool)
        rule[1:, [0, 2]] = True
        return found.assign(by_ablation=(("level", "latent"), rule))

    return path


def test_a_pair_that_cannot_be_cut_is_followed_all_the_same(tmp_path, monkeypatch):
    """Flows have one KL and no latent of their own to cut: a figure, and no numbers of the cut pair."""
    monkeypatch.setattr(fitting, "path", two_in(fitting.path))
    metrics = followed(tmp_path / "flows" / "seed0", "guide=iaf")
    assert metrics["latents"] == 2
    assert "dci" not in metrics
    (path,) = figures(hydra.compose("config", ["+seeds=[0]", "+models={flows: []}"]), tmp_path)
    assert path.caption.startswith("2 latents")


def test_a_plateau_is_told_with_the_factors_of_its_latents(tmp_path, monkeypatch):
    """The rules say that latents 0 and 2 are in from the second level on; the rest is what was trained."""
    monkeypatch.setattr(fitting, "path", two_in(fitting.path))
    metrics = followed(tmp_path / "sprites" / "seed0")
    found = read_posterior(tmp_path / "sprites" / "seed0" / "path.zarr").to_dataset().load()
    assert metrics["latents"] == 2
    assert metrics["from"] == pytest.approx(float(found.noise[1]))
    assert metrics["to"] == pytest.approx(float(found.noise[3]))
    assert metrics["width"] == pytest.approx(float(chosen_plateau(found)["width"]))
    assert metrics["factors_named"] in (1, 2)
    assert 0 <= metrics["dci"] <= 1
    study = hydra.compose("config", ["+seeds=[0]", "+models={sprites: []}"])
    path, kept = figures(study, tmp_path)
    assert path.caption.startswith(say_plateau(found).removesuffix(", where the path ends"))
    assert "z0, z2 alone" in kept.caption
