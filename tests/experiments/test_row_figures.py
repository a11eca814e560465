"""A table from the command's configuration to the report: names, units, gaps and files."""

import re
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from experiments.jobs.single import run
from experiments.row_figures import _curves, _heat_maps, _traversal
from ppvae import UserError, read_posterior
from ppvae.datasets import table

TINY = ["latents=2", "prior=normal", "guide=mean_field", "trainer.epochs=2", "trainer.compile=false"]
TINY += ["trainer.progress=false", "posterior.images=20", "posterior.draws=2", "posterior.ablation_images=8"]
TINY += ["diagnosis.images=8", "diagnosis.draws=8", "diagnosis.simulations=20", "information.images=20"]
TINY += ["information.decoded=5", "information.others=2", "imputation.draws=16"]
NAMES = [f"{400 + 10 * k} nm" for k in range(6)]


@pytest.fixture
def spectra(tmp_path) -> Path:
    random = np.random.default_rng(0)
    x = 1e4 + 300 * random.normal(size=(60, 2)) @ random.normal(size=(2, 6)) + random.normal(size=(60, 6))
    x[random.random(x.shape) < 0.15] = np.nan
    path = tmp_path / "spectra.csv"
    pd.DataFrame(x, columns=NAMES).assign(species=random.choice(["a", "b"], 60)).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("network", ["rows", pytest.param("conv_rows", marks=pytest.mark.long)])
def test_a_table_is_trained_reported_and_imputed(spectra, tmp_path, network):
    words = ["data=table", f"data.path={spectra}", "data.labels=[species]", "likelihood=real", f"network={network}"]
    page = run(hydra.compose("config", [*words, *TINY]), tmp_path / "run").read_text()
    folder = tmp_path / "run"
    given = pd.read_csv(spectra)[NAMES]
    filled = pd.read_csv(folder / "imputed.csv", index_col="row")
    assert filled.columns.tolist() == NAMES
    assert filled.index.tolist() == list(range(60))
    gaps = given.isna().to_numpy()
    np.testing.assert_allclose(filled.to_numpy()[~gaps], given.to_numpy()[~gaps], rtol=1e-15)
    assert np.abs(filled.to_numpy()[gaps] - 1e4).max() < 3000  # in the table's units
    found = read_posterior(folder / "imputed.zarr").to_dataset()
    assert found["missing"].values.tolist() == gaps.tolist()
    assert (found["lower"] < found["upper"]).all()
    columns = pd.read_csv(folder / "columns.csv")
    assert columns["column"].tolist() == NAMES
    again = table(spectra, labels=["species"], scaling=str(folder / "columns.csv"))
    training, _ = table(spectra, labels=["species"]).split(0.1, seed=0)
    np.testing.assert_array_equal(again.images.scaling.center, training.images.scaling.center)
    for words in ("400 nm", "share missing", "of the entries missing", "standard deviations"):
        assert words in page
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert figures >= {"rows", "table", "traversals"}
    assert not figures & {"reconstructions", "cards"}  # which are of pictures


def test_the_pages_of_a_table_speak_of_rows_and_entries(tmp_path, capsys):
    path = tmp_path / "numbers.csv"
    pd.DataFrame(np.random.default_rng(0).normal(size=(60, 5))).to_csv(path, index=False)
    words = ["data=table", f"data.path={path}", "likelihood=real", "network=rows", "diagnosis.images=20"]
    run(hydra.compose("config", [*words, *TINY]), tmp_path / "run")
    assert "nats per row" in capsys.readouterr().out
    for name in ("report", "diagnostics"):
        page = (tmp_path / "run" / f"{name}.html").read_text()
        prose = re.sub(r"<style.*?</style>|<pre.*?</pre>|<[^>]*>", " ", page, flags=re.DOTALL)
        assert " rows" in prose
        assert not re.findall(r"[^.]*\b(?:image|pixel)s?\b[^.]*", prose)


def test_a_table_without_gaps_has_nothing_imputed(tmp_path):
    path = tmp_path / "counts.csv"
    pd.DataFrame(np.random.default_rng(0).poisson(4, (40, 5))).to_csv(path, index=False)
    words = ["data=table", f"data.path={path}", "data.kind=counts", "likelihood=poisson", "network=rows"]
    run(hydra.compose("config", [*words, *TINY]), tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=False)["model"]
    training, _ = table(path, kind="counts").split(0.1, seed=0)
    start = state["likelihood.log_start"].exp().flatten().tolist()  # and half a count
    assert start == pytest.approx((training.images.values.mean(0) + 0.5 / len(training)).tolist())
    assert not (tmp_path / "run" / "imputed.csv").exists()
    assert (tmp_path / "run" / "columns.csv").exists()


@pytest.mark.usefixtures("rehearsed")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["likelihood=poisson", "network=rows"], "CountLikelihood is a density of .* these are real"),
        (["likelihood=normal", "network=rows"], "VAE cannot leave out"),
        (["likelihood=real", "network=mlp"], "MeanFieldNormal cannot leave out"),
        (["likelihood=real", "network=rows", "imputation.interval=2"], "interval=2: expected a probability"),
        (["likelihood=real", "network=rows", "data.kind=counts"], "holds .* expected whole numbers"),
        (["likelihood=real", "network=rows", "validation=test"], "these data have no split of that name"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_before_training(spectra, tmp_path, words, line):
    configuration = hydra.compose(
        "config", ["data=table", f"data.path={spectra}", "data.leave_out=[species]", *words, *TINY]
    )
    with pytest.raises(UserError, match=line) as caught:
        run(configuration, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def made(values: list[list[float]]) -> xr.DataArray:
    return xr.DataArray(values, {"image": range(len(values)), "column": ["age", "pay"]}, ("image", "column"))


def scaled(center: list[float], scale: list[float]) -> xr.DataArray:
    """What a tree keeps of the columns."""
    coords = {"column": ["age", "pay"], "column_center": ("column", center), "column_scale": ("column", scale)}
    return xr.DataArray(np.zeros((1, 1, 1, 2)), coords, ("image", "channel", "row", "column"))


def test_captions_count_what_lies_in_its_band_and_name_what_the_mean_tells():
    """Of five entries four lie in their band; ages are told as they are, pay by its mean alone."""
    rows = made([[1.0, 10.0], [3.0, 20.0], [5.0, np.nan]])
    mean = made([[1.0, 15.0], [3.0, 15.0], [5.0, 15.0]])
    drawn = xr.Dataset({"mean": mean, "lower": mean - 2, "upper": mean + 6}, attrs={"interval": 0.9})
    curves, maps = _curves(rows, drawn, scaled([3.0, 15.0], [2.0, 5.0])), _heat_maps(rows, drawn)
    assert curves.caption.startswith("Of 5 entries that are there 4 lie in their band, the 90 % interval")
    assert curves.caption.endswith("Units are the columns' own. Entries without a dot, 1, are missing.")
    assert curves.alt.startswith("3 panels of dots with a line and a band over 2 columns, age to pay: of 5 entries")
    assert "of how the rows differ the mean tells most in age (100%), least in pay (0%). Grey, 16.7% of" in maps.caption
    assert maps.alt.startswith("Two heat maps of 3 rows by 2 columns, age to pay: of how the rows differ")


def test_the_latent_that_moves_a_row_most_is_named_with_the_column_in_its_units():
    """z4 moves pay by two of its scales, 10 about 50; z1 nothing."""
    like = scaled([30.0, 50.0], [1.0, 10.0])
    steps = np.zeros((2, 3, 1, 1, 2))
    steps[0, :, 0, 0, 1] = -1, 0, 1
    traversal = xr.DataArray(steps, {"latent": [4, 1]}, ("latent", "step", "channel", "row", "column"))
    figure = _traversal(traversal, like, "traversals", "Traversals")
    moved = "1 of 2 latents move the row between their ends, z4 the most: pay from 40.0 to 60.0."
    assert figure.caption.startswith(moved)
    assert "Units are each column's scale, from its center." in figure.caption
    assert figure.alt.startswith("2 panels of 3 curves over 2 columns, age to pay.")
