"""Tables: what was written is read, names and units come back, a split learns its units from the training rows, and
wrong input ends in one line."""

import sys
import warnings
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch
import xarray as xr
from scipy import sparse

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


def test_parquet_keeps_types_and_gaps(tmp_path):
    """Whole numbers and booleans with gaps, decimals and categories, as pandas and as Arrow write them."""
    nullable = pd.DataFrame(
        {
            "flux": [0.5, np.nan, 2.5, 4.0],
            "count": pd.array([None, 3, 4, 5], dtype="Int64"),
            "good": pd.array([True, False, None, True], dtype="boolean"),
            "price": [Decimal("1.5"), None, Decimal("2.25"), Decimal("0")],
            "seen": [True, False, True, True],
            "species": pd.Categorical(["owl", "ant", "owl", "ant"], categories=["owl", "bee", "ant"]),
            "ring": pd.array([7, 8, 8, 7], dtype="Int64"),
        }
    )
    arrow = pyarrow.table(
        {
            "flux": pyarrow.array([0.5, None, 2.5, 4.0], pyarrow.float32()),
            "count": pyarrow.array([None, 3, 4, 5], pyarrow.uint8()),
            "good": [True, False, None, True],
            "price": [Decimal("1.5"), None, Decimal("2.25"), Decimal("0")],
            "seen": [True, False, True, True],
            "species": pyarrow.array(["owl", "ant", "owl", "ant"]).dictionary_encode(),
            "ring": pyarrow.array([7, 8, 8, 7], pyarrow.int16()),
        }
    )
    nullable.to_parquet(tmp_path / "pandas.parquet")
    pyarrow.parquet.write_table(arrow, tmp_path / "arrow.parquet")
    for name in ("pandas", "arrow"):
        data = table(tmp_path / f"{name}.parquet", labels=["species", "ring"])
        np.testing.assert_array_equal(
            data.to_xarray()["rows"],
            [[0.5, np.nan, 1, 1.5, 1], [np.nan, 3, 0, np.nan, 0], [2.5, 4, np.nan, 2.25, 1], [4, 5, 1, 0, 1]],
        )
        assert data.factors["species"].attrs["values"] == ["ant", "owl"]  # and not the category without a row
        assert data.factors["species"].values.tolist() == [1, 0, 1, 0]
        assert data.factors["ring"].attrs["values"] == [7, 8]


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-01", periods=4),
        pd.date_range("2020-01-01", periods=4, tz="UTC"),
        pd.date_range("2020-01-01", periods=4).date,
        pd.to_timedelta([1, 2, 3, 4], unit="s"),
    ],
    ids=["naive", "zoned", "dates", "durations"],
)
def test_times_are_neither_numbers_nor_labels(tmp_path, times):
    path = tmp_path / "nights.parquet"
    pd.DataFrame({"flux": [1.0, 2, 3, 4], "night": times}).to_parquet(path)
    with pytest.raises(UserError, match=r"'night' \('.+'\) is of times: write them as numbers, .*leave_out=\[night\]$"):
        table(path)
    with pytest.raises(UserError, match=r"factor 'night' .*: expected numbers, text or booleans$"):
        table(path, labels=["night"])
    assert table(path, leave_out=["night"]).image_shape == (1, 1, 1)


@pytest.mark.parametrize(
    "label",
    [
        pd.array([1, None, 2, 1], dtype="Int64"),
        pd.array([True, None, False, True], dtype="boolean"),
        pd.array(["a", None, "b", "a"], dtype="string"),
        pd.Categorical(["a", None, "b", "a"]),
    ],
    ids=["whole", "boolean", "text", "categorical"],
)
def test_labels_with_gaps_are_refused_whatever_their_type(tmp_path, label):
    pd.DataFrame({"flux": [1.0, 2, 3, 4], "label": label}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="factor 'label' has no finite value for 1 of 4 images"):
        table(tmp_path / "t.parquet", labels=["label"])


def test_a_list_is_no_label(tmp_path):
    pd.DataFrame({"flux": [1.0, 2], "spectrum": [[1, 2], [3, 4]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"factor 'spectrum' holds ndarray, such as .*: expected numbers, text or"):
        table(tmp_path / "t.parquet", labels=["spectrum"])


COUNTS = np.arange(12.0).reshape(4, 3)


@pytest.fixture
def cells(tmp_path) -> Callable[..., Path]:
    """Writes an .h5ad of four cells and three genes."""

    def write(x: Any, genes: Sequence[str] = ("Actb", "Gapdh", "Sox2"), **layers: Any) -> Path:
        obs = {"tissue": pd.Categorical(["gut", "eye", "eye", "gut"]), "depth": [0.5, 1, 2, 4], "batch": [1, 2, 1, 2]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the package's own calls of pandas
            names = pd.DataFrame(obs, index=list("wxyz")), pd.DataFrame(index=list(genes))
            anndata.AnnData(x, *names, layers=layers).write_h5ad(tmp_path / "cells.h5ad")
        return tmp_path / "cells.h5ad"

    return write


@pytest.mark.parametrize("held_as", [np.asarray, sparse.csr_matrix, sparse.csc_array], ids=["dense", "rows", "columns"])
def test_anndata_gives_a_matrix_or_a_layer_and_labels(cells, held_as):
    path = cells(held_as(COUNTS.astype(np.float32)), doubled=held_as(2 * COUNTS))
    data = table(path, kind="counts", labels=["tissue", "depth", "batch"])
    assert data.kind == "counts"
    assert data.to_xarray()["column"].values.tolist() == ["Actb", "Gapdh", "Sox2"]
    assert data.factors["tissue"].values.tolist() == [1, 0, 0, 1]
    assert data.factors["tissue"].attrs["values"] == ["eye", "gut"]
    assert data.factors["depth"].values.tolist() == [0.5, 1, 2, 4]
    assert data.factors["batch"].attrs["values"] == [1, 2]
    np.testing.assert_array_equal(data.observed()[:, 0, 0].numpy(), COUNTS)  # counts keep their units
    layer = table(path, kind="counts", array="doubled", leave_out=["Gapdh"])
    np.testing.assert_array_equal(layer.to_xarray()["rows"], 2 * COUNTS[:, [0, 2]])


def test_anndata_without_x_has_its_layers(cells):
    path = cells(None, raw=COUNTS)
    with pytest.raises(UserError, match="no layer 'table': give one of raw as array"):
        table(path)
    np.testing.assert_array_equal(table(path, array="raw").to_xarray()["rows"], COUNTS)


def test_anndata_names_what_it_holds(cells):
    path = cells(sparse.csr_matrix(COUNTS), raw=COUNTS)
    with pytest.raises(UserError, match="no layer 'log': give one of X, raw as array"):
        table(path, array="log")
    with pytest.raises(UserError, match="no column 'organ' in obs: name one of tissue, depth, batch"):
        table(path, labels=["organ"])
    with pytest.raises(UserError, match="column 'Actb' is there twice"):
        table(cells(COUNTS, genes=("Actb", "Actb", "Sox2")))
    with pytest.raises(UserError, match="'depth' is a column of obs and a variable: rename one"):
        table(cells(COUNTS, genes=("Actb", "depth", "Sox2")), labels=["depth"])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"cells\.h5ad' cannot be read as AnnData table .*truncated"):
        table(path)


def test_a_sparse_matrix_that_does_not_fit_once_dense_is_not_made_dense(cells, monkeypatch):
    path = cells(sparse.csr_matrix(COUNTS))
    monkeypatch.setattr("ppvae.memory.available_memory", lambda: 8 * COUNTS.size - 1)
    with pytest.raises(UserError, match="needs 96 bytes of memory, 95 bytes are left"):
        table(path)


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
