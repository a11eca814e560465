"""Where each verdict begins: thresholds and limits by their definitions, over faults of every size.

The faults are put straight into a tree, so that each test's statistic sweeps from nought to far beyond its limit, in
steps small enough that a limit or threshold moved by a half would judge one of them otherwise.
"""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ppvae.diagnostics import diagnose, pareto_smooth
from ppvae.diagnostics.pareto import good_pareto_k
from ppvae.diagnostics.rank_tests import largest_excursion_tail
from ppvae.diagnostics.weight_findings import chance_above

LEVEL = 0.01  # of each of the seven tests by chance
OTHERS = "active latents", "information"  # of latents' statistics and of a group of its own: in their own files
IMAGES, DRAWS, SIMULATIONS, LATENTS = 120, 80, 300, 3
SAMPLE, PIXELS = ("chain", "draw"), ("channel", "row", "column")
FAULTS = np.concatenate([np.linspace(-1.8, 1.8, 31), [-3.0, 3.0]])


def pixels(values: np.ndarray, *dims: str) -> xr.Dataset:
    """Images of one grey each, beside a fixed pattern."""
    pattern = np.random.default_rng(9).normal(size=(1, 2, 2))
    return xr.Dataset({"x": ((*dims, *PIXELS), values[..., None, None, None] + pattern - pattern.mean())})


def tree_of(fault: float, seed: int = 0) -> xr.DataTree:
    """Every group, as of a standard normal guide, prior and data but for a shift by ``fault`` and a width of
    exp(−fault) in what the guide and the model draw, and log weights that spread by 2·|fault|."""
    rng = np.random.default_rng(seed)
    width = np.exp(-fault)
    z = fault + width * rng.normal(size=(1, DRAWS, IMAGES, LATENTS))
    log_p = 4 * abs(fault) * rng.standard_exponential((1, DRAWS, IMAGES)) ** (1 + rng.uniform(size=IMAGES))
    ranks = stats.norm.cdf(0.3 * fault + width * rng.normal(size=(SIMULATIONS, LATENTS)))
    latent = {"latent": np.arange(LATENTS)}
    groups = {
        "posterior": xr.Dataset({"z": ((*SAMPLE, "image", "latent"), z)}, latent),
        "prior": xr.Dataset({"z": ((*SAMPLE, "latent"), rng.normal(size=(1, 400, LATENTS)))}, latent),
        "calibration": xr.Dataset({"z": (("simulation", "latent"), ranks)}, latent),
        "sample_stats": xr.Dataset({"log_p": ((*SAMPLE, "image"), log_p), "log_q": ((*SAMPLE, "image"), 0 * log_p)}),
        "observed_data": pixels(rng.normal(size=IMAGES), "image"),
        "posterior_predictive": pixels(fault + rng.normal(size=(1, DRAWS, IMAGES)), *SAMPLE, "image"),
        "prior_predictive": pixels(fault + rng.normal(size=(1, 90)), *SAMPLE),
    }
    return xr.DataTree.from_dict(groups)


@pytest.fixture(scope="module")
def swept() -> list[tuple[xr.DataTree, xr.Dataset]]:
    trees = [tree_of(float(fault)) for fault in FAULTS]
    return [(tree, diagnose(tree, false_alarm=7 * LEVEL)) for tree in trees]


def excursion_threshold(level: float) -> float:
    """The least excursion that chance exceeds at most that often, over the number of steps."""
    size = np.arange(SIMULATIONS + 1)
    return float(size[largest_excursion_tail(size + 1, SIMULATIONS) <= level][0] / SIMULATIONS)


def width_thresholds(level: float) -> tuple[float, float]:
    ends = stats.chi2(SIMULATIONS - 1).ppf([1 - level / 2, level / 2]) / (SIMULATIONS - 1)
    return tuple(1 / np.sqrt(ends))


def distance_threshold(level: float, first: int, second: int) -> float:
    return float(stats.kstwo.isf(level, round(first * second / (first + second))))


def test_thresholds_and_limits_are_those_of_their_definitions(swept):
    """Bonferroni's within a test: three latents, five statistics."""
    low, high = width_thresholds(LEVEL / LATENTS)
    pareto = max(0.05, stats.binom.isf(LEVEL, IMAGES, chance_above(DRAWS)) / IMAGES)
    expected = {
        "tightness": (1.0, 10.0),
        "effective draws": (0.1 * DRAWS, 2.0),
        "pareto k": (pareto, 0.5),
        "calibration": (stats.kstwo.isf(LEVEL / LATENTS, SIMULATIONS), 0.1),
        "bias": (excursion_threshold(LEVEL / LATENTS), 0.2),
        "aggregate": (distance_threshold(LEVEL / LATENTS, IMAGES, 400), 0.1),
        "posterior predictive": (stats.binom.isf(LEVEL / 5, IMAGES, 0.1) / IMAGES, 0.25),
        "prior predictive": (distance_threshold(LEVEL / 5, IMAGES, 90), 0.3),
    }
    for _, found in swept:
        for test, (threshold, limit) in expected.items():
            row = found.sel(test=test)
            assert float(row["threshold"]) == pytest.approx(threshold, rel=1e-9), test
            assert float(row["limit"]) == limit, test
        row = found.sel(test="width")
        narrow = float(row["statistic"]) < 1
        assert float(row["threshold"]) == pytest.approx(low if narrow else high, rel=1e-9)
        assert float(row["limit"]) == (0.8 if narrow else 1.25)


def judged(size: float, threshold: float, limit: float) -> str:
    if size <= threshold:
        return "pass" if size <= limit else "not run"
    return "warn" if size <= limit else "fail"


def test_verdicts_follow_from_statistic_threshold_and_limit(swept):
    """The more the worse, but for effective draws and for widths below one, which fall short."""
    seen: dict[str, set[str]] = {}
    for _, found in swept:
        for row in (found.sel(test=test) for test in found["test"].values if test not in OTHERS):
            numbers = [float(row[name]) for name in ("statistic", "threshold", "limit")]
            test = row["test"].item()
            if test == "effective draws" or (test == "width" and numbers[0] < 1):
                numbers = [-number for number in numbers]
            assert row["verdict"].item() == judged(*numbers), (test, numbers)
            seen.setdefault(test, set()).add(row["verdict"].item())
    assert all({"pass", "fail"} <= verdicts for verdicts in seen.values()), seen
    shares = [float(found["statistic"].sel(test="posterior predictive")) for _, found in swept]
    assert any(0.25 < share < 0.4 for share in shares)  # between its limit and what is far beyond


def test_statistics_are_those_of_their_definitions(swept):
    for tree, found in swept:
        size = dict(zip(found["test"].values.tolist(), found["statistic"].values.tolist(), strict=True))
        log_p = tree["sample_stats"]["log_p"].values[0].T
        weights = np.exp(log_p - log_p.max(1, keepdims=True))
        gaps = np.log(weights.mean(1)) + log_p.max(1) - log_p.mean(1)
        assert size["tightness"] == pytest.approx(gaps.mean(), abs=1e-9)
        assert size["effective draws"] == pytest.approx(np.median(weights.sum(1) ** 2 / (weights**2).sum(1)))
        shapes = pareto_smooth(log_p)[1]
        assert size["pareto k"] == pytest.approx((shapes > good_pareto_k(DRAWS)).mean())
        z, prior = tree["posterior"]["z"].values[0, 0], tree["prior"]["z"].values[0]
        distances = [stats.ks_2samp(z[:, k], prior[:, k]).statistic for k in range(LATENTS)]
        assert size["aggregate"] == pytest.approx(max(distances))


@pytest.mark.parametrize(("images", "runs"), [(19, False), (20, True)])
def test_so_few_images_are_no_sample(images, runs):
    tree = tree_of(0.0)
    few = {name: group.to_dataset() for name, group in tree.children.items()}
    few = {name: group.isel(image=slice(images)) if "image" in group.dims else group for name, group in few.items()}
    found = diagnose(xr.DataTree.from_dict(few)).sel(test="aggregate")
    assert bool(np.isfinite(found["statistic"])) is runs


@pytest.mark.parametrize(("below", "said"), [(1.1, False), (0.9, True)])
def test_information_within_a_nat_of_its_cap_is_said(below, said):
    tree = tree_of(0.0)
    cap = np.log(IMAGES)
    parts = {"marginal_kl": 0.5, "marginal_kl_error": 0.1, "mutual_information": cap - below}
    tree["aggregate"] = xr.DataTree(xr.Dataset(parts, attrs={"cap": cap}))
    what = diagnose(tree)["what"].sel(test="aggregate").item()
    assert ("near its cap" in what) is said
    assert "KL(q(z)‖p(z)) 0.50 ± 0.10 nats" in what


def test_chance_is_that_of_exponential_weights():
    """By another seed's draws: of 4 000 tails, a share of 0.05 has an error of 0.0034; 5 of a difference of two."""
    ratios = np.log(np.random.default_rng(1).standard_exponential((4_000, 100)))
    share = (pareto_smooth(ratios)[1] > 1 - 1 / 2).mean()
    assert chance_above(100) == pytest.approx(share, abs=5 * np.sqrt(2 * share * (1 - share) / 4_000))
