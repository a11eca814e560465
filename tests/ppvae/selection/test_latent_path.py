"""A path against the closed form of linear data, a run without a path, and a run that was ended in its middle."""

import numpy as np
import pytest
import torch
import xarray as xr

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError, fit, from_pyro_svi, path
from ppvae.datasets import ImageDataset, rows, sprites
from ppvae.interventions import reconstruct
from ppvae.likelihoods import NormalLikelihood, RealLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder, RowEncoder
from ppvae.priors import NormalPrior
from ppvae.selection import chosen_plateau, entrance, latent_path, say_plateau
from ppvae.selection.latent_path import level_file
from ppvae.svi import load_pair

SHAPE, SCALE = (1, 4, 4), 0.1
SETTINGS = {"progress": False, "accelerator": "cpu", "execution": "captured", "learning_rate": 0.005}
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
    return path(*make_pair(), images(), levels=12, epochs=60, batch_size=32, stop=0.25, ablated=512, **SETTINGS)


def test_latents_enter_where_linear_data_say(followed):
    """Two directions, two latents: each enters when σ√β falls below its deviation, 0.5 (less where pixels are clamped)
    and 0.2, at most two levels later: a collapsed code is a saddle that training leaves slowly."""
    assert float(followed.noise[0]) == pytest.approx(0.5, rel=0.06)  # the entrance
    late = (float(followed.noise[1] / followed.noise[0])) ** 2.5
    counts = followed.by_kl.sum("latent").values
    assert counts[0] == 0
    for entered, deviation in ((1, 0.5), (2, 0.2)):
        assert late * deviation < float(followed.noise[int(np.argmax(counts >= entered))]) < deviation
    assert int(chosen_plateau(followed, "by_kl")["count"]) == 2
    assert say_plateau(followed, "by_kl").startswith("2 latents, from σ√β = 0.1")


def test_rate_rises_and_error_falls(followed):
    """The rate but for the noise of training, a few hundredths of a nat at a level; the error over all of them."""
    assert (np.diff(followed.rate) > -0.05).all()
    assert float(followed.error[-1]) < 0.2 * float(followed.error[0])


def test_the_error_of_a_table_is_of_the_entries_that_are_there():
    """Beside the reconstruction of the first rows, half of whose entries are missing."""
    random = torch.Generator().manual_seed(2)
    values = torch.randn(64, 8, generator=random).masked_fill(torch.rand(64, 8, generator=random) < 0.5, torch.nan)
    data, shape = rows(values), (1, 1, 8)
    model = VAE(NormalPrior(2), RealLikelihood(MLPDecoder(2, shape, hidden=[4])))
    guide = MeanFieldNormal(RowEncoder(shape), 2)
    found = path(model, guide, data, levels=2, epochs=2, batch_size=32, ablated=40, **SETTINGS)
    seen = data.observed(slice(40)).flatten(1).numpy()
    redrawn = reconstruct(model, from_pyro_svi(model, guide, data.subset(slice(40)), 1)).values.reshape(40, 8)
    assert float(found.error[-1]) == pytest.approx(np.nanmean((redrawn - seen) ** 2) ** 0.5, rel=1e-5)
    assert found.error.attrs["long_name"] == "RMSE of an entry"


@pytest.mark.long
def test_a_warm_start_ends_where_fresh_runs_do(followed):
    """At the last weight, by the bound, beside two runs of as many steps at that weight alone: they differ by 0.02 to
    0.07 nats, and an epoch's mean of 1 024 draws errs by 0.03."""
    weight, bounds = float(followed.weight[-1]), []
    for seed in range(2):
        history = fit(*make_pair(seed=seed), images(), BetaELBO(beta=weight), epochs=60, batch_size=32, **SETTINGS)
        bounds.append(float(history.distortion[-1] + weight * history.rate[-1]))
    assert float(followed.distortion[-1] + weight * followed.rate[-1]) == pytest.approx(np.mean(bounds), abs=0.2)


def test_nothing_enters_on_noise_until_everything_does():
    """Independent pixels of one variance: above it no latent is in, and no number between none and all holds."""
    noise = 0.5 + 0.1 * torch.randn(1024, *SHAPE, generator=torch.Generator().manual_seed(2))
    found = path(*make_pair(), noise.clamp(0, 1), levels=6, epochs=24, batch_size=32, start=4.0, stop=1.3, **SETTINGS)
    assert int(found.by_kl.sum()) == 0
    assert chosen_plateau(found, "by_kl") is None


class Ended(Exception):
    """As by a kill."""


def ended_after(epochs: int):
    """``fit`` that ends after so many epochs, once what looks at them has looked."""

    def train(*pair, after_epoch, **options):
        def look(history):
            after_epoch(history)
            if history.sizes["epoch"] == epochs:
                raise Ended

        return fit(*pair, after_epoch=look, **options)

    return train


def test_a_path_that_was_ended_goes_on_as_if_it_was_not(tmp_path, monkeypatch):
    options = {"levels": 4, "epochs": 8, "batch_size": 64, **SETTINGS}
    whole = path(*make_pair(), images(count=256), directory=tmp_path / "whole", **options)
    load_pair(level_file(tmp_path / "whole", 1, ".pt"), *make_pair())  # each level's pair can be had
    parted = tmp_path / "parted"
    monkeypatch.setattr(latent_path, "fit", ended_after(5))
    with pytest.raises(Ended):
        path(*make_pair(), images(count=256), directory=parted, **options)
    monkeypatch.undo()
    resumed = path(*make_pair(), images(count=256), directory=parted, resume=True, **options)
    xr.testing.assert_allclose(resumed, whole, rtol=1e-6, atol=1e-7)


def test_factors_are_told_by_the_latents_that_know_them():
    data = sprites(size=256, image_size=32, seed=0)
    found = path(*make_pair(3, data.image_shape), data, levels=3, epochs=6, images=200, ablated=32, **SETTINGS)
    assert set(found.explained.dims) == {"factor", "level", "latent"}
    assert found.explained.factor.values.tolist() == list(data.factors)
    assert bool(((found.explained >= 0) & (found.explained <= 1 + 1e-9)).all())
    assert found.sizes == {"level": 3, "latent": 3, "factor": len(data.factors)}


def test_a_label_alone_and_a_factor_that_does_not_change_are_told_of():
    """As of MNIST, whose only factor is the label, or of a folder with one class."""
    labels = np.arange(64) % 3
    factors = xr.Dataset({"label": ("image", labels), "camera": ("image", np.zeros(64, int))})
    data = ImageDataset(images(count=64).numpy(), factors)
    found = path(*make_pair(1), data, levels=2, epochs=2, ablated=32, batch_size=32, **SETTINGS)
    assert found.explained.sel(factor="camera").isnull().all()
    assert bool((found.explained.sel(factor="label") >= 0).all())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"levels": 1}, "levels=1.*at least 2"),
        ({"epochs": 3, "levels": 4}, "epochs=3.*at least 4"),
        ({"epochs": 9, "levels": 4}, "epochs=9 cannot be shared by 4 levels; give a multiple"),
        ({"start": 1.0, "stop": 2.0, "levels": 2, "epochs": 2}, "stop=2.0 is not below start=1.0"),
        ({"devices": 2, "levels": 2, "epochs": 2}, "a path is of one process, not of 2; give devices=1"),
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
    assert float(found.weight[0] / found.weight[1]) == pytest.approx(3600)
