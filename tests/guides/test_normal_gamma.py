"""The Normal-Gamma guide's path from informative to uninformative, against the paper's numbers."""

import pytest
import torch
from pyro import poutine
from scipy.optimize import minimize_scalar
from torch import nn
from torch.distributions import Gamma, kl_divergence

from guides import NormalGammaGuide
from guides.normal_gamma import relaxed_switch
from ppvae import UserError
from ppvae.distributions import GRepGamma
from ppvae.priors import NormalGammaPrior

PRIOR = (8.25, 3.62)
INFORMATIVE, UNINFORMATIVE = (3.65, 0.24), (902.0, 810.9)


class Features(nn.Module):
    """An encoder that returns its images, flattened."""

    features = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


def parameters_at(p: float, **options: float) -> tuple[float, float]:
    shape, rate = NormalGammaGuide(Features(), 2, **options).gamma_parameters(torch.tensor(p, dtype=torch.float64))
    return shape.item(), rate.item()


def rate_at(p: float, **options: float) -> float:
    """KL of the guide's Gamma at p from the default prior, nats."""
    q = Gamma(*(torch.tensor(v, dtype=torch.float64) for v in parameters_at(p, **options)))
    return kl_divergence(q, Gamma(*(torch.tensor(v, dtype=torch.float64) for v in PRIOR))).item()


@pytest.mark.parametrize(
    ("slope", "shape", "rate"),
    [(5, "71.8", "61.7"), (10, "9.66", "5.67"), (15, "4.15", ".688"), (20, "3.69", ".277"), (25, "3.653", ".243")],
)
def test_soft_slopes_miss_the_informative_end(slope, shape, rate):
    """To the digits of Eq. 5 evaluated by hand."""
    for value, quoted in zip(parameters_at(0.0, slope=slope), (shape, rate), strict=True):
        assert value == pytest.approx(float(quoted), abs=0.51 * 10.0 ** -len(quoted.partition(".")[2]))


def test_ends_of_the_default_path():
    for p, end, variance in [(0.0, INFORMATIVE, 0.0906), (1.0, UNINFORMATIVE, 0.900)]:
        shape, rate = parameters_at(p)
        assert (shape, rate) == pytest.approx(end, rel=2e-3)
        assert rate / (shape - 1) == pytest.approx(variance, abs=5e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_endpoint_exact_hits_both_ends(dtype):
    """To rounding, which the span of the path (900 around 0.24) enlarges at the informative end."""
    ends = torch.tensor([0.0, 1.0], dtype=dtype)
    for slope in range(1, 61):
        switched = relaxed_switch(ends, slope, endpoint_exact=True)
        torch.testing.assert_close(switched, ends, rtol=0, atol=2 * torch.finfo(dtype).eps)
        guide = NormalGammaGuide(Features(), 2, slope=slope, endpoint_exact=True)
        low, high = torch.stack(guide.gamma_parameters(ends), -1).tolist()
        assert low == pytest.approx(INFORMATIVE, rel=1e4 * torch.finfo(dtype).eps)
        assert high == pytest.approx(UNINFORMATIVE, rel=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("endpoint_exact", [False, True])
@pytest.mark.parametrize("slope", [5.0, 15.0, 30.0])
def test_the_switch_is_a_symmetric_rise(slope, endpoint_exact):
    p = torch.linspace(0, 1, 101, dtype=torch.float64)
    s = relaxed_switch(p, slope, endpoint_exact=endpoint_exact)
    assert (s.diff() > 0).all()
    torch.testing.assert_close(s + s.flip(0), torch.ones_like(s))
    torch.testing.assert_close(s[50].item(), 0.5)
    if not endpoint_exact:
        torch.testing.assert_close(torch.logit(s), slope * (p - 0.5))


@pytest.mark.parametrize("slope", [15.0, 20.0, 30.0, 50.0])
def test_the_path_crosses_the_prior(slope):
    """Erratum to the paper's Fig. 3: the KL is least at p* = ½ − 5.69/slope, not at p = 1."""
    best = minimize_scalar(rate_at_slope := lambda p: rate_at(p, slope=slope), bounds=(0, 0.5), method="bounded")
    assert best.fun == pytest.approx(0.0134, abs=5e-5)
    assert slope * (0.5 - best.x) == pytest.approx(5.69, abs=5e-3)
    assert relaxed_switch(torch.tensor(best.x), slope).item() == pytest.approx(0.00337, abs=5e-6)
    shape, rate = parameters_at(best.x, slope=slope)
    assert rate / (shape - 1) == pytest.approx(0.5, abs=0.03)
    assert rate_at_slope(1.0) > 200 * best.fun


def test_rates_at_the_ends():
    assert rate_at(0.0, endpoint_exact=True) == pytest.approx(31.38, abs=5e-3)
    assert rate_at(1.0) == pytest.approx(3.556, abs=5e-3)


def test_prior_has_the_papers_numbers():
    prior = NormalGammaPrior(2)
    torch.manual_seed(0)
    trace = poutine.trace(prior).get_trace()
    precision, z = trace.nodes["precision"], trace.nodes["z"]
    assert precision["fn"].base_dist.concentration.tolist() == [8.25, 8.25]
    assert precision["fn"].base_dist.rate.tolist() == pytest.approx([3.62, 3.62])
    torch.testing.assert_close(z["fn"].base_dist.variance, 1 / precision["value"])
    assert not z["fn"].base_dist.loc.any()


@pytest.mark.parametrize(("estimator", "family"), [("implicit", Gamma), ("g-rep", GRepGamma)])
def test_sites_of_the_guide(estimator, family):
    guide = NormalGammaGuide(Features(), 2, estimator=estimator)
    images = torch.rand(5, 1, 2, 2)
    nodes = poutine.trace(guide).get_trace(images).nodes
    precision, z, p = nodes["precision"], nodes["z"], nodes["p"]
    gamma, normal = precision["fn"].base_dist, z["fn"].base_dist
    features = images.flatten(1)
    torch.testing.assert_close(p["value"], guide.logit(features).sigmoid())
    torch.testing.assert_close(gamma.concentration, guide.gamma_parameters(p["value"])[0])
    torch.testing.assert_close(gamma.rate, guide.gamma_parameters(p["value"])[1])
    torch.testing.assert_close(normal.loc, guide.loc(features))
    torch.testing.assert_close(normal.variance, 1 / precision["value"])
    torch.testing.assert_close(normal.mean_precision, gamma.concentration / gamma.rate)
    assert isinstance(gamma, family)
    assert isinstance(gamma, GRepGamma) == (estimator == "g-rep")
    assert [node for node in nodes if node in ("p", "precision", "z")] == ["p", "precision", "z"]
    assert all(site["fn"].batch_shape == (5,) and site["fn"].event_shape == (2,) for site in (precision, z))


@pytest.mark.parametrize("initial", [0.1, 0.5, 0.8])
def test_training_starts_at_the_initial_probability(initial):
    guide = NormalGammaGuide(Features(), 2, initial_probability=initial)
    p = poutine.trace(guide).get_trace(torch.zeros(3, 1, 2, 2)).nodes["p"]["value"]
    torch.testing.assert_close(p, torch.full((3, 2), initial))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"estimator": "grep"}, "estimator.*'grep'.*expected one of implicit, g-rep"),
        ({"initial_probability": 0.0}, "initial_probability.*0.0.*expected"),
        ({"initial_probability": 1.0}, "initial_probability.*1.0.*expected"),
        ({"initial_probability": float("nan")}, "initial_probability.*nan.*expected"),
        ({"slope": 0.0}, "slope.*0.0.*expected"),
        ({"slope": float("nan")}, "slope.*nan.*expected"),
        ({"informative": (-1.0, 0.24)}, "informative.*-1.0.*expected"),
        ({"informative": (3.65, float("nan"))}, "informative.*nan.*expected"),
        ({"uninformative": (902.0, 0.0)}, "uninformative.*0.0.*expected"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        NormalGammaGuide(Features(), 2, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shape": 0.0}, "shape.*0.0.*expected"),
        ({"rate": -1.0}, "rate.*-1.0.*expected"),
        ({"shape": float("nan")}, "shape.*nan.*expected"),
        ({"rate": float("inf")}, "rate.*inf.*expected"),
        ({"latents": 0}, "latents.*0.*expected"),
    ],
)
def test_prior_wants_positive_numbers(options, match):
    with pytest.raises(UserError, match=match):
        NormalGammaPrior(**{"latents": 2, **options})
