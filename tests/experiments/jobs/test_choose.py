"""Choosing a number by a metric on a few labels: what is tried, how it is scored, and what a resumed search keeps."""

from pathlib import Path

import hydra
import numpy as np
import optuna
import pandas as pd
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from experiments.jobs import choose
from ppvae import UserError, read_posterior
from ppvae.metrics import mig_metric

SMALL = [
    "experiment=choose_beta",
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "data.size=64",
    "latents=3",
    "trainer.epochs=1",
    "trainer.batch_size=16",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
    "posterior.images=64",
    "posterior.draws=2",
    "posterior.ablation_images=8",
    "score.labelled=40",
    "search.workers=1",
    "search.trials=3",
]


def as_started(*overrides: str) -> DictConfig:
    """The configuration as the command line would start it."""
    configuration = hydra.compose("config", [*SMALL, *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(configuration)
    with open_dict(configuration):
        del configuration["hydra"]
    return configuration


def results(directory: Path) -> pd.DataFrame:
    return pd.read_csv(directory / "results.csv")


@pytest.fixture
def untrained(monkeypatch) -> dict[str, float]:
    """Runs are not trained here: each gets this ``score``."""
    given = {"score": 0.5}
    told = {"elbo": -1.0, "rate": 1.0, "distortion": 0.0, "informative_by_kl": 1.0, "data": "none"}
    monkeypatch.setattr(
        choose, "_train", lambda _text, value, _directory: (given["score"], {**told, "run": f"trials/{value:g}"})
    )
    return given


def test_sweep_scores_each_value_on_the_labelled_images_alone(tmp_path, capsys):
    choose.run(as_started("search.low=0.1", "search.high=10"), tmp_path)
    found = results(tmp_path)
    np.testing.assert_allclose(found["value"], [0.1, 1, 10])
    for _, row in found.iterrows():
        tree = read_posterior(tmp_path / row["run"] / "posterior.zarr")
        chosen = np.random.default_rng(0).permutation(64)[:40]
        codes = tree["sample_stats"]["z_mean"].load().isel(image=chosen)
        factors = tree["constant_data"].to_dataset().load().isel(image=chosen)
        assert row["score"] == pytest.approx(float(mig_metric(codes, factors, preset="quick", seed=0)["score"]))
    assert found["rate"].is_monotonic_decreasing, "a larger weight leaves a smaller rate, even after one epoch"
    best = found.loc[found["score"].idxmax(), "run"]
    assert f"Best run: {tmp_path / best}" in capsys.readouterr().out
    assert (tmp_path / "figures" / "search.svg").is_file()
    assert "mig" in (tmp_path / "table.md").read_text()


@pytest.mark.long
def test_resumed_search_trains_what_is_missing_and_nothing_else(tmp_path, monkeypatch):
    """The second value fails half way, as after a kill: its trial is under way in the journal for ever."""
    train, seen = choose.train_and_evaluate, []

    def fails_once(configuration, directory, *, resume):
        seen.append((directory.name, resume))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return train(configuration, directory, resume=resume)

    monkeypatch.setattr(choose, "train_and_evaluate", fails_once)
    with pytest.raises(KeyboardInterrupt):
        choose.run(as_started(), tmp_path)
    choose.run(as_started(), tmp_path)
    names = [name for name, _ in seen]
    assert len(names) == 4, "three values, one of them begun twice"
    assert names[1] in names[2:]
    assert len(set(names)) == 3
    np.testing.assert_allclose(results(tmp_path)["value"], np.geomspace(0.03, 30, 3))


def test_a_value_that_diverges_has_no_score_and_ends_nothing(tmp_path, monkeypatch, caplog):
    train = choose.train_and_evaluate

    def diverges(configuration, directory, *, resume):
        if configuration.objective.beta_norm < 0.1:
            raise UserError("the loss is not finite")
        return train(configuration, directory, resume=resume)

    monkeypatch.setattr(choose, "train_and_evaluate", diverges)
    choose.run(as_started(), tmp_path)
    np.testing.assert_allclose(results(tmp_path)["value"], np.geomspace(0.03, 30, 3)[1:])
    assert "0.03: no score (the loss is not finite)" in caplog.text
    monkeypatch.setattr(choose, "train_and_evaluate", lambda *_, **__: pytest.fail("trained again"))
    choose.run(as_started(), tmp_path)


def test_no_score_at_all_is_one_line(tmp_path, untrained):
    untrained["score"] = float("nan")
    with pytest.raises(UserError, match="no value has a score"):
        choose.run(as_started("search.trials=2"), tmp_path)


@pytest.mark.long
def test_more_trials_on_resume_go_on_by_the_sampler(tmp_path):
    choose.run(as_started("search.trials=2"), tmp_path)
    first = results(tmp_path)
    choose.run(as_started("search.trials=3"), tmp_path)
    found = results(tmp_path)
    assert len(found) == 3
    assert set(first["value"]) < set(found["value"])
    assert found["value"].between(0.03, 30).all()


@pytest.mark.usefixtures("untrained")
def test_tpe_begins_with_a_sweep(tmp_path):
    choose.run(as_started("search.sampler=tpe", "search.trials=4"), tmp_path)
    assert {0.03, 30.0} < set(results(tmp_path)["value"].round(9))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("score.metric=migg", "score.metric='migg': expected one of beta_vae"),
        ("search.low=50", "search.low=50 and search.high=30; expected low below high"),
        ("search.low=0", "search.low"),
        ("search.trials=0", "search.trials"),
        ("search.sampler=random", "search.sampler='random': expected one of grid, tpe"),
        ("search.parameter=objective.bta", "objective.bta is no key"),
        ("score.labelled=65", "score.labelled=65 of posterior.images=64"),
    ],
)
def test_mistakes_end_in_one_line_before_any_training(override, message, tmp_path, monkeypatch):
    monkeypatch.setattr(choose, "train_and_evaluate", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(UserError, match=message) as error:
        choose.run(as_started(override), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("untrained")
def test_other_settings_do_not_continue_a_search(tmp_path):
    choose.run(as_started("search.trials=1"), tmp_path)
    with pytest.raises(UserError, match=r"was made with .*latents=3, now it is 4"):
        choose.run(as_started("latents=4"), tmp_path)


@pytest.mark.usefixtures("untrained")
def test_optuna_stays_quiet_and_unchanged(tmp_path):
    level = optuna.logging.get_verbosity()
    choose.run(as_started("search.trials=1"), tmp_path)
    assert optuna.logging.get_verbosity() == level
