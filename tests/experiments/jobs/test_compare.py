"""Comparing runs: the runs' own log p(x), refused where they are of other images."""

import re
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from omegaconf import DictConfig

from experiments.jobs import compare
from ppvae import UserError, write_posterior
from ppvae.plots.labels import number


def held_out(where: Path, shift: float, pixels: str = "a", data: str = "digits {}") -> str:
    """A run's directory with log p(x) of two hundred images, ``shift`` nats below the others' on average."""
    random = np.random.default_rng(0)
    values = random.normal(-100, 20, 200) - shift * random.uniform(0.5, 1.5, 200)
    found = xr.Dataset(
        {
            "log_marginal": ("image", values, {"units": "nats"}),
            "pareto_k": ("image", np.linspace(0, 0.8, 200), {"good": 0.7}),
        },
        attrs={"num_samples": 50, "data": data.format(pixels), "pixels": pixels, "measure": "probability"},
    )
    where.mkdir(parents=True)
    write_posterior(xr.DataTree(found), where / "held_out.zarr")
    return str(where)


def composed(*runs: str) -> DictConfig:
    return hydra.compose("config", ["experiment=compare", f"runs=[{','.join(runs)}]"])


def test_table_and_figure_of_two_runs(tmp_path, capsys):
    runs = [held_out(tmp_path / name / "seed0", shift) for name, shift in (("vae", 2.0), ("iaf", 0.0))]
    compare.run(composed(*runs), tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/results.csv", index_col=0)
    assert list(table.index) == ["iaf/seed0", "vae/seed0"], "named by what sets them apart, best first"
    assert abs(table.loc["vae/seed0", "elpd_diff"]) == pytest.approx(400, rel=0.05)
    assert 0 < table.loc["vae/seed0", "dse"] < table.loc["vae/seed0", "se"] / 10
    behind = number(abs(table.loc["vae/seed0", "elpd_diff"]))
    said = f"Best is iaf/seed0; the next, vae/seed0, is {behind} ± "
    assert said in (tmp_path / "out/report.html").read_text()
    assert "digits a" in (tmp_path / "out/table.md").read_text()
    assert "25 k̂ > 0.70" in capsys.readouterr().out
    assert (tmp_path / "out/figures/compare.svg").is_file()


def test_two_times_are_told_with_the_names_of_their_runs(tmp_path):
    runs = [held_out(tmp_path / name / f"2026-01-0{day}_12-00-00", day) for day, name in ((1, "vae"), (2, "iaf"))]
    compare.run(composed(*runs), tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/results.csv", index_col=0)
    assert list(table.index) == ["vae/2026-01-01_12-00-00", "iaf/2026-01-02_12-00-00"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: [held_out(path / "a", 0)], "two runs or more"),
        (lambda path: [held_out(path / "a", 0), str(path / "b")], "b has no held_out.zarr; train it with"),
        (
            lambda path: [held_out(path / "a", 0), held_out(path / "b", 0, "b")],
            "a was measured on digits a, b on digits b: not the same images",
        ),
        (lambda path: [held_out(path / "a", 0)] * 2, "names one directory twice"),
    ],
)
def test_mistakes_end_in_one_line(make, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        compare.run(composed(*make(tmp_path)), tmp_path / "out")
    assert "\n" not in str(error.value)


def test_rows_of_a_table_are_called_rows(tmp_path):
    """By the description of what was held out, which every run keeps."""
    description = "rows.csv, 200 rows of 3 columns, real"
    runs = [held_out(tmp_path / name, shift, data=description) for name, shift in (("a", 2.0), ("b", 0.0))]
    page = compare.run(composed(*runs), tmp_path / "out").read_text()
    prose = re.sub(r"<style.*?</style>|<pre.*?</pre>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert "unreliable rows" in prose
    assert not re.findall(r"\b(?:image|pixel)s?\b", prose)
