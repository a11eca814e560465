"""A path against the closed form of linear data, a run without a path, and a run that was ended in its middle."""

import numpy as np
import pytest
import torch
import xarray as xr

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError, fit, path
from ppvae.datasets import sprites
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.selection import chosen_plateau, entrance, say_plateau
from ppvae.selection.latent_path import level_file
from ppvae.svi import load_pair

SHAPE, SCALE = (1, 4, 4), 0.1
SETTINGS = {"progress": False, "accelerator": "cpu", "execution": "captured", "learning_rate": 0.003}
DEVIATIONS = (0.5, 0.2)  # of the images along two directions, nothing else differs


def make_pair(latents: int = 4, shape=SHAPE, seed: int = 0) -> tuple[torch.nn.Module, torch.nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VAE(
            NormalPrior(latents),
            NormalLikelihood(MLPDecoder(latents, shape, hidden=[32], activation="tanh"), scale=SCALE),
        )
        return model, MeanFieldNormal(MLPEncoder(shape, hidden=[32], activation="tanh"), latents)


def images(deviations=DEVIATIONS, count: int = 1024) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    directions = torch.linalg.qr(torch.randn(16, len(deviations), generator=generator)).Q
    codes = torch.randn(count, len(deviations), generator=generator) * torch.tensor(deviations)
    return (0.5 + codes @ directions.T).unflatten(1, SHAPE).clamp(0, 1)


@pytest.fixture(scope="module")
def followed() -> xr.Dataset:
    return path(*make_pair(), images(), levels=16, epochs=64, batch_size=32, stop=0.15, ablated=512, **SETTINGS)


def test_latents_enter_where_linear_data_say(followed):
    """Two directions, two latents: each enters when σ√β falls below its deviation (0.5, 0.2), within two levels, of a
    factor 0.82 each: a training lags, and the decoder's sigmoid is not linear."""
    assert float(followed.noise[0]) == pytest.approx(0.5, rel=0.06)  # the entrance
    counts = followed.by_kl.sum("latent").values
    assert counts[0] == 0
    assert counts[-1] == 2
    for entered, deviation in ((1, 0.5), (2, 0.2)):
        at = float(followed.noise[int(np.argmax(counts >= entered))])
        assert 0.82**3 * deviation < at < 1.02 * deviation
    assert int(chosen_plateau(followed, "by_kl")["count"]) in (1, 2)
    assert "from σ√β" in say_plateau(followed, "by_kl")


def test_rate_rises_and_error_falls(followed):
    """Strictly but for the noise of one draw an image: 1 024 images, ±0.02 nats."""
    assert (np.diff(followed.rate) > -0.05).all()
    assert float(followed.error[-1]) < 0.5 * float(followed.error[0])


def test_a_warm_start_ends_where_a_fresh_run_does(followed):
    """At the last weight, by the bound, beside three fresh runs of as many steps at that weight alone."""
    weight = float(followed.weight[-1])
    bounds = []
    for seed in range(3):
        history = fit(*make_pair(seed=seed), images(), BetaELBO(beta=weight), epochs=64, batch_size=32, **SETTINGS)
        bounds.append(float(history.distortion[-1] + weight * history.rate[-1]))
    found = float(followed.distortion[-1] + weight * followed.rate[-1])
    assert found < max(bounds) + 0.1 + 2 * np.std(bounds)


def test_nothing_enters_on_noise_until_everything_does():
    """Independent pixels of one variance: above it no latent is in, and no number between none and all holds."""
    noise = 0.5 + 0.1 * torch.randn(1024, *SHAPE, generator=torch.Generator().manual_seed(2))
    found = path(*make_pair(), noise.clamp(0, 1), levels=6, epochs=24, batch_size=32, start=4.0, stop=1.3, **SETTINGS)
    assert int(found.by_kl.sum()) == 0
    assert chosen_plateau(found, "by_kl") is None


def test_a_path_that_was_ended_goes_on_as_if_it_was_not(tmp_path):
    options = {"levels": 4, "epochs": 8, "batch_size": 64, **SETTINGS}
    whole = path(*make_pair(), images(count=256), directory=tmp_path / "whole", **options)
    ended = {"n": 0}

    class Ended(Exception):
        pass

    pair = make_pair()
    forward = pair[0].forward

    def counting(*args, **kwargs):
        ended["n"] += 1
        return forward(*args, **kwargs)

    first = level_file(tmp_path / "whole", 1, ".pt")
    load_pair(first, *pair)  # each level's pair can be had
    assert counting  # the pair is not called by name below
    parted = tmp_path / "parted"
    stopped = {"after": 5}

    def stop(history):
        if history.sizes["epoch"] == stopped["after"]:
            raise Ended

    import ppvae.selection.latent_path as module

    original = module.fit
    module.fit = lambda *a, after_epoch, **k: original(
        *a, after_epoch=lambda history: (after_epoch(history), stop(history)), **k
    )
    try:
        with pytest.raises(Ended):
            path(*make_pair(), images(count=256), directory=parted, **options)
    finally:
        module.fit = original
    resumed = path(*make_pair(), images(count=256), directory=parted, resume=True, **options)
    xr.testing.assert_allclose(resumed, whole, rtol=1e-6, atol=1e-7)


def test_factors_are_told_by_the_latents_that_know_them():
    data = sprites(size=256, image_size=8, seed=0)
    found = path(*make_pair(3, data.image_shape), data, levels=3, epochs=6, images=200, ablated=32, **SETTINGS)
    assert found.explained.dims == ("factor", "level", "latent")
    assert found.explained.factor.values.tolist() == list(data.factors)
    assert bool(((found.explained >= 0) & (found.explained <= 1 + 1e-9)).all())
    assert found.sizes == {"level": 3, "latent": 3, "factor": len(data.factors)}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"levels": 1}, "levels=1.*at least 2"),
        ({"epochs": 3, "levels": 4}, "epochs=3.*at least 4"),
        ({"epochs": 9, "levels": 4}, "epochs=9 cannot be shared by 4 levels; give a multiple"),
        ({"start": 1.0, "stop": 2.0, "levels": 2, "epochs": 2}, "stop=2.0 is not below start=1.0"),
        ({"resume": True, "levels": 2, "epochs": 2}, "resume=True needs the directory"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        path(*make_pair(), images(count=64), **{"batch_size": 32, **SETTINGS, **options})
    assert "\n" not in str(error.value)


def test_the_entrance_is_where_it_starts():
    pair = make_pair()
    found = path(*pair, images(count=256), levels=2, epochs=2, **SETTINGS)
    assert float(found.weight[0]) == pytest.approx(entrance(pair[0], images(count=256)))
    assert float(found.weight[0] / found.weight[1]) == pytest.approx(900)
