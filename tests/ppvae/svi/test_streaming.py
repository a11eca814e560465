"""Images streamed from disk: each once an epoch over all processes, and runs resumed in its middle to the last bit."""

import os
import signal
from itertools import chain

import numpy as np
import pytest
import torch
import zarr

from guides import MeanFieldNormal
from ppvae import VAE, fit
from ppvae import datasets as sources
from ppvae.datasets import streamed
from ppvae.errors import Interrupted, UserError
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi.batches import Batches

SHAPE, IMAGES = (1, 4, 4), 50
PIXELS = np.random.default_rng(0).integers(1, 256, (IMAGES, *SHAPE), dtype=np.uint8)
PIXELS[:, 0, 0, 0] = np.arange(IMAGES)  # names the image
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def windows(monkeypatch) -> None:
    """Of twelve images and more: four or five an epoch, which batches of eight do not fit."""
    monkeypatch.setattr(streamed, "WINDOW_BYTES", 12 * 16)


@pytest.fixture(params=["zarr", "npy"])
def data(request, tmp_path):
    if request.param == "npy":
        np.save(tmp_path / "x.npy", PIXELS)
        return sources.npy(tmp_path / "x.npy")
    zarr.create_array(tmp_path / "x.zarr", data=PIXELS, chunks=(3, *SHAPE))
    return sources.zarr(tmp_path / "x.zarr")


def made(data, size=8, seed=0, rank=0, ranks=1, **options) -> Batches:
    return Batches(data.images, size, seed, CPU, rank, ranks, **options)


def numbers(stream) -> list[list[int]]:
    return [images[:, 0, 0, 0].tolist() for images, *_ in stream]


def test_an_epoch_holds_each_image_once_in_an_order_of_its_own(data):
    epochs = [numbers(made(data).epoch(epoch)) for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]
    assert epochs[0] != numbers(made(data, seed=1).epoch(0))
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [8] * 6
        assert len({number for batch in epoch for number in batch}) == 48
    every = numbers(made(data, size=10).epoch(0))
    assert sorted(number for batch in every for number in batch) == list(range(IMAGES))


def test_images_come_whole_and_with_what_is_given(data):
    labels, state = torch.arange(IMAGES), torch.get_rng_state()
    for images, label in made(data, given=(labels,)).epoch(3):
        assert torch.equal(images, torch.from_numpy(PIXELS)[label])
    assert torch.equal(torch.get_rng_state(), state)


def test_an_epoch_goes_on_from_each_step_with_the_same_batches(data):
    whole = numbers(made(data).epoch(1))
    for start in range(6):
        assert numbers(made(data).epoch(1, start)) == whole[start:]
    assert numbers(made(data).epoch(1, 6)) == []


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_share_each_batch(data, ranks):
    whole = numbers(made(data).epoch(2))
    shares = [numbers(made(data, rank=rank, ranks=ranks).epoch(2)) for rank in range(ranks)]
    assert [[*chain(*parts)] for parts in zip(*shares, strict=True)] == whole
    assert numbers(made(data, rank=1, ranks=ranks).epoch(2, 3)) == shares[1][3:]


def test_batches_in_parts_are_the_same_images(data):
    whole, parts = numbers(made(data).epoch(0, 2)), numbers(made(data, parts=2).epoch(0, 2))
    assert [one + two for one, two in zip(parts[::2], parts[1::2], strict=True)] == whole


def make_pair(seed=0) -> tuple[VAE, MeanFieldNormal]:
    torch.manual_seed(seed)
    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, SHAPE, (8,)), 0.3))
    return model, MeanFieldNormal(MLPEncoder(SHAPE, (8,)), 2)


def train(pair, data, **options):
    arguments = {"epochs": 2, "batch_size": 8, "compile": False, "accelerator": "cpu", "progress": False}
    history = fit(*pair, data, validation=0.1, **arguments | options)
    return history.drop_vars(["seconds", "images_per_second"])


def states(pair) -> list[torch.Tensor]:
    return [value for program in pair for value in program.state_dict().values()]


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_run_that_ended_in_the_middle_of_an_epoch_goes_on_to_the_last_bit(data, step, tmp_path, monkeypatch):
    """Five steps an epoch, in windows of twelve images: the third step's come from two windows."""
    from ppvae.svi.optimisation import Optimisation

    real, left = Optimisation.step, [step]

    def signalled(self, **keywords):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, **keywords)

    whole = train(pair := make_pair(), data)
    with monkeypatch.context() as patch:
        patch.setattr(Optimisation, "step", signalled)
        with pytest.raises(Interrupted):
            train(make_pair(), data, directory=tmp_path / "run")
    resumed = train(fresh := make_pair(9), data, directory=tmp_path / "run", resume=True)
    assert resumed.identical(whole)
    assert all(map(torch.equal, states(fresh), states(pair)))


def test_another_stores_images_are_not_gone_on_with(tmp_path):
    for name, pixels in {"one": PIXELS, "other": 255 - PIXELS}.items():
        np.save(tmp_path / f"{name}.npy", pixels)
    train(make_pair(), sources.npy(tmp_path / "one.npy"), directory=tmp_path / "run", epochs=1)
    with pytest.raises(UserError, match="was trained on other images"):
        train(make_pair(), sources.npy(tmp_path / "other.npy"), directory=tmp_path / "run", resume=True)


def test_a_chunk_that_breaks_in_training_is_one_line(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=PIXELS, chunks=(3, *SHAPE), compressors=None)
    data = sources.zarr(tmp_path / "x.zarr")
    (tmp_path / "x.zarr" / "c" / "11" / "0" / "0" / "0").write_bytes(b"short")
    with pytest.raises(UserError, match=r"x\.zarr' cannot be read as Zarr store") as caught:
        train(make_pair(), data)
    assert "\n" not in str(caught.value)
