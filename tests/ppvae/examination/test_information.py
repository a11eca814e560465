"""What z says and what the decoder makes of it: closed forms, and pairs made to fool one number or another."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr

from experiments.benchmarks.wrong_guides import LATENTS, LOADINGS, PIXELS, READOUT, TRIANGLE, VARIANCE, draw_images
from experiments.benchmarks.wrong_guides import guide_with as linear_guide
from experiments.benchmarks.wrong_guides import model as linear_model
from ppvae import UserError, information_split
from ppvae.diagnostics import diagnose
from ppvae.diagnostics.information_findings import judged

EVENT = {"event_dims": ["latent"]}
CODES = 8


def model_of(logits: Callable[[torch.Tensor], torch.Tensor]) -> Callable:
    """p(z) = N(0, I) of eight latents; the first pixel is on with these logits, seven others by chance."""

    def model(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(CODES).double(), 1.0).to_event(1), infer=EVENT)
            on = logits(z)[..., None]
            both = torch.cat([on, torch.zeros_like(on).expand(*on.shape[:-1], 7)], -1)[..., None, None, :]
            pyro.sample("x", dist.Bernoulli(logits=both).to_event(3), obs=images)

    return model


def guide_of(mean: Callable[[torch.Tensor], torch.Tensor], scale: float = 0.1) -> Callable:
    """q(z | x) = N(mean(x), scale²), the mean (image, latent)."""

    def guide(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(mean(images.flatten(1)), scale).to_event(1), infer=EVENT)

    return guide


def bit(z: torch.Tensor) -> torch.Tensor:
    """A decoder that reads a single bit, and trusts it."""
    return 14.0 * z[..., 0].sign()


def deaf(z: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(z[..., 0])


BITS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=CODES))).double()[:, None, None, :]
"""All 256 images of eight binary pixels."""


def told(x: torch.Tensor) -> torch.Tensor:
    """Means that say the bit, in each latent."""
    return (6 * x[:, :1] - 3).expand(-1, CODES)


def verbatim(x: torch.Tensor) -> torch.Tensor:
    """Means that say the whole image, a pixel in each latent."""
    return 6 * x - 3


def test_the_parts_of_an_exact_linear_pair_are_its_closed_forms():
    """I = ½ log |I + WᵀW/σ²|, which is the gain as well, for the decoder is right; over codes of the prior it gains
    tr WWᵀ/σ² = I plus what a wrong code costs. Five errors, and 0.02 for the means over finitely many codes."""
    images = draw_images(1500, 0)
    found = information_split(linear_model, linear_guide(READOUT, TRIANGLE), images, others=30, decoded=1000)
    inner = LOADINGS.T @ LOADINGS / VARIANCE
    information = float(torch.linalg.slogdet(torch.eye(LATENTS).double() + inner)[1]) / 2
    expected = {
        "rate": information,
        "mutual_information": information,
        "gain": information,
        "marginal_kl": 0.0,
        "distortion": PIXELS / 2 * (math.log(2 * math.pi * VARIANCE) + 1),
        "gain_over_swapped": float(inner.trace()),
        "gain_over_prior": float(inner.trace()),
    }
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, abs=5 * float(found[f"{name}_error"]) + 0.02), name
    assert float(found["rate"] - found["mutual_information"] - found["marginal_kl"]) == pytest.approx(0, abs=1e-12)
    assert found.attrs["verdict"] == "used"
    assert found.attrs["cap"] == math.log(1500)
    assert (float(found["active_units"]), float(found["latents"])) == (LATENTS, LATENTS)


@pytest.mark.parametrize("draws", [1, 3])
def test_a_decoder_that_does_not_listen_gains_nothing_at_all(draws):
    """All units active, a rate of dozens of nats, I(z; x) at its cap: collapsed nevertheless."""
    found = information_split(model_of(deaf), guide_of(verbatim), BITS, draws)
    for name in ("gain", "gain_over_swapped", "gain_over_prior", "gain_error"):
        assert float(found[name]) == 0.0, name
    assert float(found["active_units"]) == CODES
    assert float(found["rate"]) > 20
    assert float(found["mutual_information"]) == pytest.approx(math.log(256), abs=1e-9)
    assert found.attrs["verdict"] == "collapsed"
    assert "ignores what the guide writes" in found.attrs["what"]
    assert "weaken the decoder" in found.attrs["advice"]


def test_a_pair_that_copies_one_bit_has_ln_2():
    """Whoever the others are, for the weights know that half of all codes say each bit; a wrong one costs 14 nats."""
    found = information_split(model_of(bit), guide_of(told), BITS)
    assert float(found["mutual_information"]) == pytest.approx(math.log(2), abs=1e-9)
    assert float(found["gain"]) == pytest.approx(math.log(2), abs=5 * float(found["gain_error"]) + 0.01)
    assert float(found["gain_error"]) < 0.03
    assert float(found["gain_over_swapped"]) == pytest.approx(7.0, abs=1.0)
    assert found.attrs["verdict"] == "weak"  # of eight latents more is expected


def test_a_confident_bit_beside_much_that_is_not_read_is_one_bit():
    """The guide writes log N nats of which the decoder reads ln 2: neither I(z; x) nor a mean of logs would tell."""
    found = information_split(model_of(bit), guide_of(verbatim), BITS)
    assert float(found["mutual_information"]) == pytest.approx(math.log(256), abs=1e-9)
    assert float(found["gain_over_swapped"]) > 5
    assert float(found["gain"]) == pytest.approx(math.log(2), abs=0.1)
    assert found.attrs["verdict"] == "weak"


def test_codes_of_all_images_far_from_the_prior_say_nothing():
    """The decoder is at a loss where the prior draws, and gains 6 nats over it by a code that all images share."""
    found = information_split(
        model_of(lambda z: 14.0 * (z[..., 0] > 2) - 7), guide_of(lambda x: 0 * told(x) + 4), torch.ones_like(BITS)
    )
    assert float(found["gain_over_prior"]) > 5
    assert float(found["rate"]) > 20
    assert float(found["mutual_information"]) == pytest.approx(0, abs=1e-12)
    assert float(found["gain"]) == 0.0
    assert found.attrs["verdict"] == "collapsed"
    assert "the decoder does it alone" in found.attrs["what"]


def test_each_of_several_sites_has_a_rate_and_a_gain():
    """Two sites, of which the decoder reads the first."""

    def model(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            read = pyro.sample("read", dist.Normal(torch.zeros(()).double(), 1.0))
            pyro.sample("unread", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(read[..., None, None, None], 0.5).to_event(3), obs=images)

    def guide(images: torch.Tensor) -> None:
        mean = images.flatten(1)[:, 0]
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("read", dist.Normal(0.8 * mean, 0.4))
            pyro.sample("unread", dist.Normal(mean[:, None].expand(-1, 2), 0.3).to_event(1))

    images = torch.randn(150, 1, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    found = information_split(model, guide, images)
    x = images.flatten()
    rates = [0.5 * (m**2 + s**2 - 1) - math.log(s) for m, s in ((0.8 * x, 0.4), (x, 0.3))]
    np.testing.assert_allclose(found["site_rate"], [rates[0].mean(), 2 * rates[1].mean()], rtol=1e-9)
    assert found["site"].values.tolist() == ["read", "unread"]
    assert float(found["site_gain"].sel(site="unread")) == 0.0
    own, other = 0.4**2 + 0.04 * x.square().mean(), 0.4**2 + (x.var() * 1.64)  # mean squared errors of the pixel
    expected = float((other - own) / (2 * 0.5**2))
    assert float(found["site_gain"].sel(site="read")) == pytest.approx(expected, rel=0.35)


def numbers(information: float, gain: float, latents: int = 16, images: int = 1000) -> xr.Dataset:
    measured = {"mutual_information": information, "gain": gain, "rate": 7.5, "active_units": 12, "latents": latents}
    errors = {"mutual_information_error": 0.1, "gain_error": 0.2}
    return xr.Dataset({**measured, **errors}, attrs={"cap": math.log(images)})


@pytest.mark.parametrize(
    ("information", "gain", "latents", "word"),
    [
        (0.49, 5.0, 16, "collapsed"),
        (5.0, 0.49, 16, "collapsed"),
        (math.log(2), math.log(2), 16, "weak"),
        (2.99, 4.0, 16, "weak"),
        (4.0, 2.99, 16, "weak"),
        (3.0, 3.1, 16, "used"),
        (math.log(2), math.log(2), 1, "used"),
        (0.09, 0.2, 1, "collapsed"),
        (4.0, -20.0, 16, "collapsed"),
        (4.0, math.nan, 16, "collapsed"),
    ],
)
def test_the_verdict_is_by_the_lesser_of_information_and_gain(information, gain, latents, word):
    found = judged(numbers(information, gain, latents))
    assert found.word == word
    assert found.what.startswith(f"{word}: z carries")
    assert bool(found.advice) is (word != "used")
    tree = xr.DataTree.from_dict({"information": numbers(information, gain, latents)})
    row = diagnose(tree).sel(test="information")
    assert row["verdict"] == {"collapsed": "fail", "weak": "warn", "used": "pass"}[word]


def test_few_images_cannot_show_much():
    """Twelve have 2.48 nats at most: 1.6 of them are no fault, and the cap is said."""
    few, many = judged(numbers(1.6, 1.7, images=12)), judged(numbers(1.6, 1.7))
    assert (few.word, many.word) == ("used", "weak")
    assert ("near its cap" in few.what, "near its cap" in many.what) == (True, False)


def test_one_seed_one_result_and_nothing_changes(build):
    for name in ("normal", "normal-gamma implicit"):
        pair = build(name)
        state = torch.get_rng_state()
        options = {"others": 3, "decoded": 5, "batch_size": 20}
        found = information_split(pair.model, pair.guide, pair.images, seed=2, **options)
        assert torch.equal(torch.get_rng_state(), state)
        assert pair.model.training
        assert found.identical(information_split(pair.model, pair.guide, pair.images, seed=2, **options))
        assert all(np.isfinite(values).all() for values in found.data_vars.values())


def test_mistakes_are_named_in_one_line():
    pair = model_of(deaf), guide_of(told)
    with pytest.raises(UserError, match="1 image came; expected at least two"):
        information_split(*pair, BITS[:1])
    for name in ("others", "decoded", "batch_size", "num_samples"):
        with pytest.raises(UserError, match=f"{name}=0"):
            information_split(*pair, BITS, **{name: 0})
