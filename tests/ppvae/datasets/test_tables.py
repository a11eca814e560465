"""Tables: what was written is read, names and units come back, a split learns its units from the training rows, and
wrong input ends in one line."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from guides import MeanFieldNormal
from ppvae import VAE, UserError, check_pair, fit, from_pyro_svi, read_posterior, write_posterior
from ppvae.datasets import ImageDataset, Rows, Scaling, in_units, rows, table
from ppvae.interventions import reconstruct
from ppvae.likelihoods import NormalLikelihood, RealLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder, RowEncoder
from ppvae.priors import NormalPrior

RANDOM = np.random.default_rng(0)
UNITS = np.array([1e-17, 1.0, 1e6, 1.0]), np.array([3e-17, 0.0, 5e6, 1e9])  # scale and center; the last far from zero
COLUMNS = ["flux", "z-score", "counts per day", "time"]


def values(count: int = 30) -> np.ndarray:
    x = RANDOM.normal(size=(count, 4)) * UNITS[0] + UNITS[1]
    x[RANDOM.random(x.shape) < 0.2] = np.nan
    return x


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(values(), columns=COLUMNS).assign(species=RANDOM.choice(["owl", "ant"], 30))


@pytest.fixture
def csv(tmp_path, frame) -> Path:
    path = tmp_path / "birds.csv"
    frame.to_csv(path, index=False)
    return path


# What is read


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz"])
def test_text_is_read_as_it_was_written(tmp_path, frame, ending):
    path = tmp_path / f"birds.{ending}"
    frame.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    data = table(path, labels=["species"])
    assert data.to_xarray()["column"].values.tolist() == COLUMNS
    np.testing.assert_array_equal(data.to_xarray()["rows"].values, frame[COLUMNS].to_numpy())
    assert data.factors["species"].attrs["values"] == ["ant", "owl"]
    named = np.array(["ant", "owl"])[data.factors["species"].values]
    assert named.tolist() == frame["species"].tolist()
    assert data.image_shape == (1, 1, 4)
    assert data.description.startswith("birds" if ending != "csv.gz" else "birds.csv")


def test_labels_are_levels_or_continuous_factors(csv, frame):
    sizes, sexes = np.linspace(0.5, 3.4, 30), np.arange(30) % 2 == 0
    frame.assign(size=sizes, male=sexes, ring=np.arange(30) % 5).to_csv(csv, index=False)
    data = table(csv, labels=["species", "size", "male", "ring"])
    assert {name: one.attrs.get("levels") for name, one in data.factors.items()} == {
        "species": 2,
        "size": None,
        "male": 2,
        "ring": 5,
    }
    np.testing.assert_array_equal(data.subset([7, 2]).factors["size"], sizes[[7, 2]])
    frame.assign(species=["owl", None] * 15).to_csv(csv, index=False)
    with pytest.raises(UserError, match=r"birds\.csv': factor 'species' has no finite value for 15 of 30"):
        table(csv, labels=["species"])


def test_archives_name_their_columns(tmp_path, frame):
    path, numbers = tmp_path / "birds.npz", frame[COLUMNS].to_numpy()
    np.savez(path, table=numbers, columns=np.array(COLUMNS), site=np.arange(30) % 3, beside=np.zeros(30))
    data = table(path, labels=["site"])
    assert data.to_xarray()["column"].values.tolist() == COLUMNS  # and not the array beside
    np.testing.assert_array_equal(data.to_xarray()["rows"].values, numbers)
    assert data.factors["site"].values.tolist() == (np.arange(30) % 3).tolist()
    np.savez(path, mine=numbers)
    assert table(path, array="mine").to_xarray()["column"].values.tolist() == ["0", "1", "2", "3"]


def test_anndata_gives_a_matrix_or_a_layer_and_labels(tmp_path, monkeypatch):
    """By its documented attributes: a stand-in for the package, which is not installed here."""
    counts = np.arange(12.0).reshape(4, 3)
    stored = SimpleNamespace(
        X=SimpleNamespace(toarray=lambda: counts),
        layers={"doubled": 2 * counts},
        var_names=pd.Index(["Actb", "Gapdh", "Sox2"]),
        obs=pd.DataFrame({"tissue": ["a", "b", "b", "a"], "depth": [1, 2, 3, 4]}, index=list("wxyz")),
        shape=(4, 3),
    )
    monkeypatch.setitem(sys.modules, "anndata", SimpleNamespace(read_h5ad=lambda _: stored))
    path = tmp_path / "cells.h5ad"
    path.touch()
    data = table(path, kind="counts", labels=["tissue"])
    assert data.kind == "counts"
    assert data.factors["tissue"].values.tolist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(data.observed()[:, 0, 0].numpy(), counts)  # counts keep their units
    layer = table(path, kind="counts", array="doubled")
    np.testing.assert_array_equal(layer.to_xarray()["rows"], 2 * counts)
    with pytest.raises(UserError, match="no layer 'raw': give one of X, doubled as array"):
        table(path, array="raw")


def test_some_rows_are_drawn_by_the_seed(csv):
    few, same = (table(csv, labels=["species"], size=9, seed=seed) for seed in (1, 1))
    other = table(csv, labels=["species"], size=9, seed=2)
    names = [data.to_xarray()["image"].values.tolist() for data in (few, same, other)]
    assert names[0] == names[1] != names[2]
    whole = table(csv, labels=["species"]).to_xarray()["rows"].values
    np.testing.assert_array_equal(few.to_xarray()["rows"].values, whole[names[0]])


# Units


def test_standardised_columns_have_mean_zero_and_deviation_one():
    """To float32's rounding, also for a column whose values are a thousand million deviations from zero."""
    seen = rows(values(500), COLUMNS).observed()[:, 0, 0].double().numpy()
    np.testing.assert_allclose(np.nanmean(seen, 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(seen, 0), 1, atol=1e-6)


def test_the_scaling_is_undone_to_the_rounding_of_float32():
    """|x| of a standardised entry is below 6 here, so that float32 rounds it by at most 6 · 2⁻²⁵ deviations."""
    x = values()
    data = rows(x, COLUMNS)
    back = data.images.scaling.undone(data.observed()[:, 0, 0].numpy())
    error = np.abs(back - x) / data.images.scaling.scale
    assert np.nanmax(error) <= 6 * 2.0**-24
    assert (np.isnan(back) == np.isnan(x)).all()


def test_a_split_takes_its_units_from_the_training_rows():
    data = rows(values(60), COLUMNS)
    kept, apart = data.split(0.3, seed=1)
    own = Scaling.of(kept.images.values, kept.images.columns)
    for part in (kept, apart):
        np.testing.assert_array_equal(part.images.scaling.center, own.center)
        np.testing.assert_array_equal(part.images.scaling.scale, own.scale)
    assert not np.array_equal(own.center, data.images.scaling.center)
    np.testing.assert_array_equal(apart.images.values, data.images.values[apart.to_xarray()["image"].values])
    few = data.subset(slice(5))  # a part of the same data stays in its units
    np.testing.assert_array_equal(few.observed().numpy(), data.observed(slice(5)).numpy())


def test_a_runs_columns_scale_new_rows(tmp_path):
    old, path = rows(values(), COLUMNS), tmp_path / "columns.csv"
    scaling = old.images.scaling
    pd.DataFrame({"column": COLUMNS, "center": scaling.center, "scale": scaling.scale}).to_csv(path, index=False)
    new = rows(values(), COLUMNS, scaling=path)
    np.testing.assert_array_equal(new.images.scaling.scale, scaling.scale)
    kept, _ = new.split(0.5)
    np.testing.assert_array_equal(kept.images.scaling.center, scaling.center)  # no split moves it
    with pytest.raises(UserError, match=r"scaling of other columns than these 2: give the columns\.csv of a run"):
        rows(values()[:, :2], COLUMNS[:2], scaling=path)


def test_counts_zeros_and_ones_and_scaling_none_stay_as_they_are():
    counts = RANDOM.integers(0, 9, (5, 3)).astype(float)
    for kind, x in (("counts", counts), ("binary", counts % 2), ("real", counts)):
        data = rows(x, kind=kind, scaling="none")
        np.testing.assert_array_equal(data.observed()[:, 0, 0].numpy(), x)
        assert data.kind == kind


def test_a_column_of_one_value_is_centred_alone():
    x = np.column_stack([np.full(9, 0.1), np.arange(9.0)])
    scaling = rows(x).images.scaling
    assert scaling.scale[0] == 1
    np.testing.assert_allclose(rows(x).observed()[..., 0], 0, atol=1e-16)  # the rounding of the mean


# Names and units in a tree


def pair_of(data: ImageDataset) -> tuple[VAE, MeanFieldNormal]:
    torch.manual_seed(0)
    model = VAE(NormalPrior(2), RealLikelihood(MLPDecoder(2, data.image_shape, (8,))))
    return model, MeanFieldNormal(RowEncoder(data.image_shape), 2)


def test_names_and_units_pass_through_the_posterior_and_its_store(tmp_path):
    x = values()
    data = rows(x, COLUMNS)
    model, guide = pair_of(data)
    path = tmp_path / "posterior.zarr"
    write_posterior(from_pyro_svi(model, guide, data.subset(slice(7)), 2), path)
    tree = read_posterior(path)
    observed = tree["observed_data"]["x"]
    assert observed["column"].values.tolist() == COLUMNS
    back = in_units(observed, observed)
    assert back.dims == ("image", "column")
    error = np.abs(back.values - x[:7]) / data.images.scaling.scale
    assert np.nanmax(error) <= 6 * 2.0**-24
    redrawn = in_units(reconstruct(model, tree), observed)
    with torch.no_grad():
        mean = model.likelihood(torch.from_numpy(tree["sample_stats"]["z_mean"].values)).mean[:, 0, 0].numpy()
    np.testing.assert_allclose(redrawn.values, mean * data.images.scaling.scale + data.images.scaling.center)
    assert redrawn["column"].values.tolist() == COLUMNS


def test_units_of_what_is_no_table_are_refused():
    image = xr.DataArray(np.zeros((2, 1, 1, 3)), dims=("image", "channel", "row", "column"))
    with pytest.raises(UserError, match="no rows of a table"):
        in_units(image, image)


def test_training_goes_by_rows_in_memory_and_leaves_gaps_alone():
    data = rows(values(64), COLUMNS)
    model, guide = pair_of(data)
    check_pair(model, guide, data)
    history = fit(model, guide, data, epochs=2, batch_size=16, validation=0.25, progress=False)
    assert history.attrs["execution"] != "eager"
    assert np.isfinite(history["elbo"].values).all()
    assert np.isfinite(history["validation_elbo"].values).all()


# What is no table


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "column 'species' .'(owl|ant)'. is not of numbers; give it as a label, labels=.species., or leave it out"),
        ({"labels": ["genus"]}, "has no column 'genus': name one of flux, z-score"),
        ({"labels": "species"}, r"labels=species: expected a list of columns, \[species\]"),
        ({"labels": ["species"], "size": 31}, "size=31 is more than the 30 rows of birds"),
        ({"labels": ["species"], "size": 0}, "size=0: expected a whole number of at least 1"),
        ({"labels": ["species"], "kind": "counts"}, "kind='counts': column 'flux' holds .*, expected whole numbers"),
        ({"labels": ["species"], "kind": "binary"}, "kind='binary': column 'flux' holds .*, expected zeros and ones"),
        ({"labels": ["species"], "kind": "words"}, "kind='words': expected one of binary, counts, real"),
        ({"labels": ["species"], "scaling": "nowhere.csv"}, "no scaling at 'nowhere.csv': give the columns.csv of a"),
        ({"leave_out": [*COLUMNS, "species"]}, "holds 30 rows of 0 columns of numbers"),
    ],
)
def test_tables_that_do_not_fit_end_in_one_line(csv, settings, line):
    with pytest.raises(UserError, match=line) as caught:
        table(csv, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("missing.csv", None, "no CSV table at .*missing.csv': give a text file with a line of names first"),
        ("empty.csv", b"", "cannot be read as CSV table .*No columns"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as CSV table .*Expected 2 fields"),
        ("bytes.csv", bytes(range(128, 256)), "cannot be read as CSV table"),
        ("twice.npz", b"PK", "cannot be read as .npz archive"),
        (
            "table.xlsx",
            b"PK",
            "is no table by its name: expected one of .csv, .tsv, .csv.gz, .parquet, .pq, .npz",
        ),
        ("infinite.csv", b"a,b\n1,2\ninf,3\n", "column 'a' holds infinite values: mend them, or leave them empty"),
        ("hollow.csv", b"a,b\n1,\n2,\n", "column 'b' has no value in the 2 rows to train on: leave it out"),
    ],
)
def test_files_that_are_no_table_end_in_one_line(tmp_path, name, content, line):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=line) as caught:
        table(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("ending", "package"), [("parquet", "pyarrow"), ("h5ad", "anndata")])
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, ending, package):
    monkeypatch.setitem(sys.modules, package, None)  # an import of it then fails
    with pytest.raises(
        UserError, match=f"read by the package {package}, which is not installed: pip install"
    ) as caught:
        table(tmp_path / f"cells.{ending}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "columns", "line"),
    [
        (np.zeros(3), None, r"a table of shape \(3,\): expected \(row, column\)"),
        (np.zeros((0, 3)), None, r"a table of shape \(0, 3\)"),
        (np.zeros((2, 3)), ["a", "b"], "2 names for 3 columns: give one to each"),
        (np.zeros((2, 3)), ["a", "b", "a"], "column 'a' is there twice"),
        ([["x", "y"]], None, "rows hold what are no numbers"),
    ],
)
def test_rows_that_are_none_end_in_one_line(given, columns, line):
    with pytest.raises(UserError, match=line) as caught:
        rows(given, columns)
    assert "\n" not in str(caught.value)


def test_rows_are_not_binarised():
    x = np.arange(6.0).reshape(3, 2)
    with pytest.raises(
        UserError, match="binarise='static', dequantise='none' of real numbers: both are of 256 grey levels"
    ):
        ImageDataset(Rows(x, np.array(["a", "b"]), "real", Scaling.of(x, np.array(["a", "b"]))), binarise="static")


@pytest.mark.parametrize(
    ("likelihood", "encoder", "line"),
    [
        (NormalLikelihood, RowEncoder, "VAE cannot leave out; .* a likelihood that leaves them out and a RowEncoder"),
        (RealLikelihood, MLPEncoder, "MeanFieldNormal cannot leave out; .*likelihood=real network=rows"),
    ],
)
def test_a_pair_that_cannot_leave_gaps_out_is_told_so(likelihood, encoder, line):
    data = rows(values(), COLUMNS)
    model = VAE(NormalPrior(2), likelihood(MLPDecoder(2, data.image_shape, (8,))))
    guide = MeanFieldNormal(encoder(data.image_shape), 2)
    for check in (lambda: check_pair(model, guide, data), lambda: fit(model, guide, data, epochs=1, progress=False)):
        with pytest.raises(UserError, match=line) as caught:
            check()
        assert "\n" not in str(caught.value)


def test_another_likelihood_is_named_for_the_kind_of_a_table():
    data = rows(np.full((9, 3), 2.0) + np.arange(3), kind="counts")
    model, guide = pair_of(data)
    with pytest.raises(UserError, match=r"these are counts .*: choose a likelihood of these, RealLikelihood"):
        check_pair(model, guide, data)
