"""Probabilistic PCA by EM: the closed form of complete rows, and the exact conditional of rows with gaps."""

import numpy as np
import pytest

from experiments.benchmarks.imputation import linear_table, main, spectra_table
from experiments.benchmarks.ppca import PPCA, fit_ppca

RANDOM = np.random.default_rng(0)


def test_without_gaps_it_is_the_eigenvalues_closed_form():
    """Tipping and Bishop 1999, Eqs. 7 and 8; EM to a relative change of 1e-12 in σ²."""
    x = RANDOM.normal(size=(400, 2)) @ RANDOM.normal(size=(2, 6)) + RANDOM.normal(size=(400, 6)) + 5
    model = fit_ppca(x, 2, iterations=5000, tolerance=1e-12)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    variance = values[:4].mean()
    covariance = vectors[:, 4:] @ np.diag(values[4:] - variance) @ vectors[:, 4:].T + variance * np.eye(6)
    np.testing.assert_allclose(model.mean, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(model.variance, variance, rtol=1e-6)
    np.testing.assert_allclose(model.weight @ model.weight.T + model.variance * np.eye(6), covariance, atol=1e-5)


def test_gaps_are_imputed_by_the_normal_conditional():
    model = PPCA(RANDOM.normal(size=(6, 2)), RANDOM.normal(size=6), 0.3)
    x = RANDOM.normal(size=(5, 6))
    x[RANDOM.random(x.shape) < 0.4] = np.nan
    mean, deviation = model.imputed(x)
    whole = model.weight @ model.weight.T + 0.3 * np.eye(6)
    for row in range(5):
        gap = np.isnan(x[row])
        gain = whole[np.ix_(gap, ~gap)] @ np.linalg.inv(whole[np.ix_(~gap, ~gap)])
        np.testing.assert_allclose(mean[row, gap], model.mean[gap] + gain @ (x[row] - model.mean)[~gap])
        variance = np.diag(whole[np.ix_(gap, gap)] - gain @ whole[np.ix_(~gap, gap)])
        np.testing.assert_allclose(deviation[row, gap] ** 2, variance)


def test_tables_have_the_noise_that_they_say():
    """The 110 least eigenvalues of the linear table are the noise's; the spectra's differences at the dark end too."""
    linear, spectra = linear_table(4000, 0), spectra_table(4000, 0)
    values = np.linalg.eigvalsh(np.cov(linear.values.T))
    np.testing.assert_allclose(values[:-10].mean(), linear.noise**2, rtol=0.02)
    ends = spectra.values[:, :2] - spectra.values[:, 2:4]
    np.testing.assert_allclose(ends.std() / np.sqrt(2), spectra.noise, rtol=0.05)


@pytest.mark.long
def test_the_benchmark_writes_a_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.benchmarks.imputation.COMPONENTS", (2, 3))
    page = tmp_path / "imputation.md"
    main(["--rows", "128", "--epochs", "1", "--seeds", "0", "--write", str(page)])
    text = page.read_text()
    for words in ("| spectra | column mean | 0 |", "| linear, normal | PPCA, ", "VAE, weights=importance", "commit"):
        assert words in text
    assert "PPCA" in capsys.readouterr().out
