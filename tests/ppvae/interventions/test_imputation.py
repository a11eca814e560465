"""Imputation beside the exact conditional of a linear-Gaussian table, and what must hold of any pair.

The pair is exact: a linear decoder with one σ is probabilistic PCA, under which z given the observed entries of a row
is normal with covariance V = (I + W_oᵀ W_o / σ²)⁻¹ and mean V W_oᵀ (x_o − μ_o) / σ², and a missing entry is normal
about μ_m + w_m E[z] with variance w_mᵀ V w_m + σ². Monte-Carlo errors of S draws: of the mean, sd(w_mᵀ z) / √S, for
the mean is that of the means of p(x | z); of a quantile at p, √(p (1 − p) / S) / density there (Serfling 1980,
Sec. 2.3.3).
Bounds are five of these: with 300 numbers compared, a false alarm is one in 5 000 seeds, and the seed is fixed.
"""

import math

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from scipy import stats
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, Program, UserError, impute
from ppvae.datasets import ImageDataset, rows
from ppvae.interventions.imputation import _quantiles, _resampled
from ppvae.likelihoods import CountLikelihood, RealLikelihood
from ppvae.networks import MLPDecoder, RowEncoder
from ppvae.priors import NormalPrior

LATENTS, COLUMNS, ROWS, NOISE, DRAWS = 2, 8, 40, 0.5, 20_000
GENERATOR = torch.Generator().manual_seed(1)
WEIGHT = torch.randn(COLUMNS, LATENTS, generator=GENERATOR)
MEAN = torch.randn(COLUMNS, generator=GENERATOR)


class Linear(nn.Module):
    """W z + μ."""

    latents, image_shape, maps = LATENTS, (1, 1, COLUMNS), 1

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.mean = nn.Parameter(WEIGHT.clone()), nn.Parameter(MEAN.clone())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z @ self.weight.T + self.mean)[..., None, None, :]


def posterior(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (row, latent) and covariance (row, latent, latent) of z given what is observed of x (row, column)."""
    seen = (~x.isnan()).to(x)
    weight = WEIGHT.to(x)
    precision = torch.eye(LATENTS).to(x) + torch.einsum("rd,dk,dl->rkl", seen, weight, weight) / NOISE**2
    residual = (x - MEAN.to(x)).nan_to_num()
    covariance = torch.linalg.inv(precision)
    return torch.einsum("rkl,dl,rd->rk", covariance, weight, residual) / NOISE**2, covariance


class Exact(Program):
    """q(z | x_observed) = the posterior, or one that is ``wider`` and ``shifted``."""

    partly_observed = True

    def __init__(self, wider: float = 1.0, shifted: float = 0.0) -> None:
        super().__init__()
        self.wider, self.shifted = wider, shifted

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean, covariance = posterior(images[:, 0, 0])
        q = dist.MultivariateNormal(mean + self.shifted, self.wider**2 * covariance)
        with pyro.plate("image", len(images), dim=-1):
            return pyro.sample("z", q, infer={"event_dims": ["latent"]})


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    """Rows of the model itself, 30 % missing, in the units that the pair is of."""
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(ROWS, LATENTS, generator=generator)
    x = z @ WEIGHT.T + MEAN + NOISE * torch.randn(ROWS, COLUMNS, generator=generator)
    gaps = torch.rand(ROWS, COLUMNS, generator=generator) < 0.3
    return rows(x.masked_fill(gaps, math.nan), [f"c{k}" for k in range(COLUMNS)], scaling="none")


@pytest.fixture(scope="module")
def model() -> VAE:
    likelihood = RealLikelihood(Linear(), noise="all", scale=NOISE, least=0.0)
    return VAE(NormalPrior(LATENTS), likelihood)


@pytest.fixture(scope="module")
def exact(data) -> dict[str, np.ndarray]:
    """Of each entry: mean, deviation of w·z and of the entry itself, given its row."""
    mean, covariance = posterior(torch.from_numpy(data.images.values))
    weight = WEIGHT.double()
    signal = torch.einsum("dk,rkl,dl->rd", weight, covariance, weight).sqrt()
    center = mean @ weight.T + MEAN.double()
    return {"mean": center.numpy(), "signal": signal.numpy(), "deviation": (signal**2 + NOISE**2).sqrt().numpy()}


def check_close(found: xr.Dataset, exact: dict[str, np.ndarray], draws: np.ndarray | float, interval: float) -> None:
    """Within five errors of so many effective draws; a bound has the error of the z's resampled and of the noise."""
    gaps = found["missing"].values
    error = exact["signal"] / np.sqrt(draws)
    assert (np.abs(found["mean"] - exact["mean"]).values / error)[gaps].max() < 5
    for name, tail in (("lower", (1 - interval) / 2), ("upper", (1 + interval) / 2)):
        standard = stats.norm.ppf(tail)
        bound = exact["mean"] + standard * exact["deviation"]
        both = 1 / draws + 1 / DRAWS if np.ndim(draws) else 1 / draws
        error = np.sqrt(tail * (1 - tail) * both) / stats.norm.pdf(standard) * exact["deviation"]
        assert (np.abs(found[name].values - bound) / error)[gaps].max() < 5


@pytest.mark.parametrize("weights", ["importance", "guide"])
def test_an_exact_pair_imputes_the_exact_conditional(data, model, exact, weights):
    found = impute(model, Exact(), data, DRAWS, weights=weights, batch_size=10 * DRAWS)
    check_close(found, exact, DRAWS, 0.9)
    assert found["missing"].values.sum() > 60
    np.testing.assert_allclose(found["effective"].values, DRAWS, rtol=1e-4)  # the weights are equal but for rounding


def test_importance_weights_mend_a_wrong_guide(data, model, exact):
    """And its own draws, unweighted, do not."""
    wrong = Exact(wider=1.5, shifted=0.3)
    found = impute(model, wrong, data, DRAWS, interval=0.8, batch_size=10 * DRAWS)
    effective = found["effective"].values[:, None]
    assert (effective > DRAWS / 20).all()
    assert (effective < 0.9 * DRAWS).all()
    check_close(found, exact, effective, 0.8)
    unweighted = impute(model, wrong, data, DRAWS, weights="guide", batch_size=10 * DRAWS)
    with pytest.raises(AssertionError):
        check_close(unweighted, exact, DRAWS, 0.9)


def test_intervals_hold_what_they_promise(model):
    """Of 2 000 rows drawn from the model, 0.5 of it missing: coverage within five binomial errors of 0.9, to which the
    quantiles of 400 draws add less than 0.005; a row's entries are dependent, so that rows are counted, not entries."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2000, LATENTS, generator=generator) @ WEIGHT.T + MEAN
    x = x + NOISE * torch.randn(2000, COLUMNS, generator=generator)
    gaps = torch.rand(2000, COLUMNS, generator=generator) < 0.5
    found = impute(model, Exact(), rows(x.masked_fill(gaps, math.nan), scaling="none"), 400, batch_size=100_000)
    truth = x.numpy()
    inside = (found["lower"].values <= truth) & (truth <= found["upper"].values)
    assert abs(inside[gaps].mean() - 0.9) < 5 * math.sqrt(0.9 * 0.1 / 2000) + 0.005


def test_units_and_names_are_those_of_the_table(model, data, tmp_path):
    """A table in other units, standardised to the one that the pair is of, is imputed to the same values in them."""
    scale, center = np.linspace(1, 1e3, COLUMNS), np.linspace(-1e4, 1e4, COLUMNS)
    names = [f"band {k}" for k in range(COLUMNS)]
    path = tmp_path / "columns.csv"
    pd.DataFrame({"column": names, "center": center, "scale": scale}).to_csv(path, index=False)
    other = rows(data.images.values * scale + center, names, scaling=path)
    plain, found = (impute(model, Exact(), table, 50, seed=3) for table in (data, other))
    assert found["column"].values.tolist() == names
    for name in ("mean", "lower", "upper", "completed"):
        back = (found[name].values - center) / scale
        np.testing.assert_allclose(back, plain[name].values, atol=2e-5)  # float32 of numbers below 10, twice
    gaps = found["missing"].values
    np.testing.assert_array_equal(found["completed"].values[~gaps], other.images.values[~gaps])
    np.testing.assert_array_equal(found["completed"].values[gaps], found["mean"].values[gaps])


def test_one_seed_gives_one_result_and_leaves_no_trace(model, data):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second, other = (impute(model, Exact(), data, 20, seed=seed) for seed in (1, 1, 2))
    assert first.identical(second)
    assert not first["mean"].equals(other["mean"])
    assert torch.equal(torch.get_rng_state(), state)


def test_counts_are_imputed_by_whole_numbers_about_their_mean():
    x = np.random.default_rng(0).poisson(3.0, (20, 5)).astype(float)
    x[::3, 1] = np.nan
    data = rows(x, kind="counts")
    model = VAE(NormalPrior(2), CountLikelihood(MLPDecoder(2, data.image_shape, (8,)), "poisson"))
    guide = MeanFieldNormal(RowEncoder(data.image_shape, kind="counts"), 2)
    found = impute(model, guide, data, 64)
    for name in ("lower", "upper"):
        assert (found[name] == found[name].round()).all()
    assert (found["lower"] <= found["upper"]).all()
    assert (found["mean"] > 0).all()


def test_quantiles_are_numpys():
    drawn = torch.randn(101, 7)
    for tail, found in zip((0.05, 0.6), _quantiles(drawn, (0.05, 0.6)), strict=True):
        np.testing.assert_array_equal(found.numpy(), np.quantile(drawn.numpy(), tail, axis=0, method="inverted_cdf"))


def test_codes_are_resampled_as_often_as_their_shares_say():
    """S times the share, rounded up or down; equal shares keep each once; a row's codes stay its own."""
    share = torch.rand(50, 6, dtype=torch.float64) ** 4
    share[:, 0] = 1.0
    share = share / share.sum(0)
    codes = {"z": torch.arange(300.0).reshape(50, 6, 1), "shared": torch.ones(50, 1, 3)}
    found = _resampled(codes, share)
    assert torch.equal(found["shared"], codes["shared"])
    assert torch.equal(found["z"][:, 0], codes["z"][:, 0])
    for row in range(6):
        counts = (found["z"][:, row] == codes["z"][:, row].T).sum(0)
        assert counts.sum() == 50
        assert ((counts - 50 * share[:, row]).abs() < 1).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"draws": 0}, "draws=0: expected a whole number of at least 1"),
        ({"interval": 1.0}, "interval=1.0: expected a probability between 0 and 1, such as 0.9"),
        ({"interval": True}, "interval=True: expected a probability"),
        ({"weights": "equal"}, "weights='equal': expected one of importance, guide"),
        ({"batch_size": 0}, "batch_size=0: expected a whole number"),
    ],
)
def test_arguments_out_of_range_end_in_one_line(model, data, options, line):
    with pytest.raises(UserError, match=line) as caught:
        impute(model, Exact(), data, **options)
    assert "\n" not in str(caught.value)


def test_what_is_no_table_is_refused(model):
    with pytest.raises(UserError, match="impute takes the rows of a table; make them with"):
        impute(model, Exact(), torch.zeros(3, 1, 1, COLUMNS))
