"""Nothing is lost: runs that end in the middle of an epoch, signals, broken states, and files of earlier versions."""

import math
import os
import signal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, Annealed, BetaELBO, SoftFreeBits, UserError, fit
from ppvae.datasets import ImageDataset
from ppvae.errors import Interrupted
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi import Plateau, Recipe, load_pair
from ppvae.svi.checkpoints import load_checkpoint

SHAPE, LATENTS = (1, 4, 4), 2
GREY = torch.randint(0, 256, (40, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
ONE_OTHER = GREY.clone()
ONE_OTHER[7, 0, 2, 2] ^= 1
DATA = ImageDataset(GREY, binarise="dynamic")
QUIET = {"compile": False, "progress": False, "accelerator": "cpu"}
RECIPES = {
    "plain": Recipe(),
    "all of it": Recipe(
        optimizer="adamax", schedule="cosine", warmup=3, clip_norm=5.0, skip_norm=1e6, average=0.9, accumulate=2
    ),
}


class Normed(nn.Module):
    """An encoder with BatchNorm, whose statistics a checkpoint holds twice where parameters are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(-3), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.features = 8

    def forward(self, images):
        return self.layers(images)


def make_pair(seed=0, scale=0.3):
    torch.manual_seed(seed)
    model = VAE(NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, (8,)), scale))
    return model, MeanFieldNormal(Normed(), LATENTS)


def train(pair=None, data=DATA, **options):
    arguments = {"epochs": 3, "batch_size": 8, **QUIET}
    history = fit(*(pair or make_pair()), data, **arguments | options)
    return history.drop_vars(["seconds", "images_per_second"])


def states(pair):
    return [value.clone() for program in pair for value in program.state_dict().values()]


class Killed(BaseException):
    """As sudden as a kill: nothing of ours catches it."""


def killed_after(monkeypatch, step: int, **options) -> None:
    """Train until the optimiser's ``step``-th step is asked for."""
    from ppvae.svi.optimisation import Optimisation

    real, left = Optimisation.step, [step]

    def counted(self, **keywords):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        real(self, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(Optimisation, "step", counted)
        with pytest.raises(Killed):
            train(**options)


def saving(recipe: str) -> dict[str, Any]:
    return {"recipe": RECIPES[recipe], "validation": 0.2, "save_steps": 2, "objective": SoftFreeBits(nats=0.1)}


@cache
def uninterrupted(recipe: str) -> tuple[xr.Dataset, list[torch.Tensor]]:
    """History and states."""
    return train(pair := make_pair(), **saving(recipe)), states(pair)


@pytest.mark.parametrize(
    ("recipe", "step"),
    [
        pytest.param(recipe, step, marks=() if step in quick else pytest.mark.long)
        for recipe, quick in (("plain", (0, 7)), ("all of it", (1, 4, 11)))
        for step in (0, 1, 4, 7, 11)
    ],
)
def test_a_kill_anywhere_resumes_with_the_numbers_of_an_uninterrupted_run(recipe, step, tmp_path, monkeypatch):
    """Four steps an epoch, saved after every second: a kill in step 8 costs step 7, in the middle of an epoch."""
    options, (whole, reached) = saving(recipe), uninterrupted(recipe)
    killed_after(monkeypatch, step, directory=tmp_path, **options)
    progress = load_checkpoint(tmp_path / "checkpoint.pt")["progress"]
    assert progress["taken"] == step // 2 * 2 % 4
    resumed = train(fresh := make_pair(9), directory=tmp_path, resume=True, **options)
    assert resumed.identical(whole)
    assert all(map(torch.equal, states(fresh), reached))


def test_minutes_save_too(tmp_path, monkeypatch):
    killed_after(monkeypatch, 3, directory=tmp_path, save_minutes=0.0)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["progress"]["taken"] == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("step", [2, 5])  # in the middle of the first epoch, at the end of it
def test_a_signal_ends_the_run_once_its_step_is_saved(number, code, step, tmp_path, monkeypatch):
    from ppvae.svi.optimisation import Optimisation

    real, left = Optimisation.step, [step]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have been told to ignore it

    def signalled(self, **keywords):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), number)
        real(self, **keywords)

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(Optimisation, "step", signalled)
        with pytest.raises(Interrupted, match=r"interrupted after .*checkpoint\.pt holds; resume continues") as caught:
            train(directory=tmp_path)
    assert caught.value.code == code
    assert ("after step 2 of epoch 1" if step == 2 else "after epoch 1") in str(caught.value)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    whole = train()
    assert train(make_pair(9), directory=tmp_path, resume=True).identical(whole)


def test_a_signal_without_a_directory_says_that_nothing_was_saved(monkeypatch):
    from ppvae.svi.optimisation import Optimisation

    monkeypatch.setattr(Optimisation, "step", lambda _, **__: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="nothing was saved") as caught:
        train()
    assert isinstance(caught.value, KeyboardInterrupt)


def broken_gradient(parameter: nn.Parameter, call: int):
    calls = [0]

    def hook(gradient):
        calls[0] += 1
        return gradient * math.nan if calls[0] == call else gradient

    return parameter.register_hook(hook)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (10, "the gradient was not finite in step 5 of epoch 2"),  # the epoch's last
        (7, "the loss became nan in step 3 of epoch 2"),  # the one before spoilt the parameters
    ],
)
def test_a_broken_gradient_never_reaches_the_checkpoint(call, said, tmp_path):
    model, guide = make_pair()
    broken_gradient(guide.loc.weight, call)
    with pytest.raises(UserError, match=said) as caught:
        train((model, guide), directory=tmp_path)
    assert f"{tmp_path}/checkpoint.pt keeps the last good state" in str(caught.value)
    content = load_checkpoint(tmp_path / "checkpoint.pt")
    assert len(content["history"]["loss"]["rows"]) == 1
    assert all(value.isfinite().all() for part in ("model", "guide") for value in content[part].values())
    assert train(make_pair(9), directory=tmp_path, resume=True).identical(train())


def test_a_broken_gradient_may_be_skipped():
    model, guide = make_pair()
    broken_gradient(guide.loc.weight, 10)
    history = train((model, guide), recipe=Recipe(skip_norm=math.inf))
    assert history.skipped.values.tolist() == [0.0, 1.0, 0.0]
    assert np.isfinite(history.loss).all()


def test_a_buffer_that_is_no_number_is_named(tmp_path):
    model, guide = make_pair()

    calls = []

    def spoil(_gradient):
        calls.append(1)
        if len(calls) == 7:
            guide.encoder.layers[2].running_var.data.fill_(math.nan)

    guide.loc.weight.register_hook(spoil)
    with pytest.raises(UserError, match=r"buffer 'encoder\.layers\.2\.running_var' of the guide .*step 5 of epoch 2"):
        train((model, guide), directory=tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert all(value.isfinite().all() for value in content["guide"].values())


def test_the_rate_may_be_lowered_on_the_way_and_not_raised(tmp_path):
    train(directory=tmp_path, epochs=1)
    with pytest.raises(UserError, match=r"learning_rate=0\.001, now it is 0\.002"):
        train(directory=tmp_path, epochs=2, learning_rate=2e-3, resume=True)
    history = train(directory=tmp_path, epochs=2, learning_rate=2e-4, resume=True)
    np.testing.assert_allclose(history.learning_rate, [1e-3, 2e-4])
    with pytest.raises(UserError, match=r"learning_rate=0\.0002, now it is 0\.001"):
        train(directory=tmp_path, epochs=3, resume=True)


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A run of one epoch, to be read."""
    train(directory=(folder := tmp_path_factory.mktemp("begun")), epochs=1)
    return folder


OTHERS = {
    "a likelihood's scale": ({"pair": lambda: make_pair(scale=0.5)}, r"model\.likelihood=.*scale=0\.3.*scale=0\.5"),
    "other images": ({"data": ImageDataset(255 - GREY, binarise="dynamic")}, "trained on other images"),
    "one other pixel": ({"data": ImageDataset(ONE_OTHER, binarise="dynamic")}, "other images"),
    "recipe": ({"recipe": Recipe(optimizer="sgd")}, r"recipe\.optimizer='adam', now it is 'sgd'"),
    "clip": ({"recipe": Recipe(clip_norm=1.0)}, r"recipe\.clip_norm=None, now it is 1\.0"),
    "validation": ({"validation": 0.2}, "images=40, now it is 32"),
    "other validation": ({"validation": GREY[:4]}, "validation=0, now it is 4"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_refused_by_the_name_of_what_changed(name, begun):
    options, said = OTHERS[name]
    options = {key: value() if key == "pair" else value for key, value in options.items()}
    with pytest.raises(UserError, match=said) as caught:
        train(directory=begun, epochs=2, resume=True, **options)
    assert "\n" not in str(caught.value)


def test_a_run_that_its_rule_ended_goes_on_under_another(tmp_path, caplog):
    rule = Plateau(window=2, tolerance=1e6, drops=0)
    train(directory=tmp_path, epochs=9, stopping=rule)
    again = train(directory=tmp_path, epochs=9, stopping=rule, resume=True)
    assert again.sizes["epoch"] == 2
    assert "the stopping rule ended this run after 2 epochs" in caplog.text
    assert train(directory=tmp_path, epochs=4, resume=True).sizes["epoch"] == 4


def test_no_epoch_is_judged_before_its_schedules_are_over():
    """Twelve steps of annealing, five an epoch: the first that counts is the fourth."""
    rule = Plateau(window=2, tolerance=1e6, drops=0)
    annealed = Annealed(objective=BetaELBO(), steps=12)
    assert train(epochs=30, objective=annealed, stopping=rule).sizes["epoch"] == 5
    assert train(epochs=30, stopping=rule).sizes["epoch"] == 2
    warm = Recipe(warmup=11, stopping=rule)
    assert train(epochs=30, recipe=warm).sizes["epoch"] == 5


def test_a_schedule_longer_than_the_run_is_said_before_training(caplog):
    train(epochs=1, objective=Annealed(objective=BetaELBO(), steps=6))
    assert "lasts 6 steps, this run 5" in caplog.text
    caplog.clear()
    train(epochs=1, objective=Annealed(objective=BetaELBO(), steps=5))
    assert not caplog.text


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize(("room", "said"), [(3, "batch_size=2, which fits"), (0, "a smaller network")])
def test_a_batch_that_does_not_fit_says_which_would(error, room, said):
    class Crowded(MLPEncoder):
        def forward(self, images):
            if len(images) > room and torch.is_grad_enabled():
                raise error
            return super().forward(images)

    model, _ = make_pair()
    with pytest.raises(UserError, match=f"batch_size=16 does not fit into the memory; give {said}") as caught:
        train((model, MeanFieldNormal(Crowded(SHAPE, (8,)), LATENTS)), batch_size=16)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_format_1_loads_and_goes_on(tmp_path, caplog):
    """Written before recipes: its parameters, its history, and Adam's states in today's order by name."""
    stored = (Path(__file__).parent / "checkpoint_of_format_1.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(stored)
    shape = (1, 2, 2)

    def pair():
        torch.manual_seed(1)
        model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, shape, (3,)), scale=0.1))
        return model, MeanFieldNormal(MLPEncoder(shape, (3,)), 2)

    model, guide = pair()
    load_pair(tmp_path / "checkpoint.pt", model, guide)
    assert float(sum(value.sum() for value in guide.state_dict().values())) == pytest.approx(-0.6596509)
    assert float(sum(value.sum() for value in model.state_dict().values())) == pytest.approx(-0.5165942)
    images = torch.rand(16, *shape, generator=torch.Generator().manual_seed(0))
    history = fit(*pair(), images, epochs=3, batch_size=8, directory=tmp_path, resume=True, **QUIET)
    np.testing.assert_allclose(history.loss[:2], [11.16771507, 11.8917408], rtol=1e-6)
    assert len(history.loss) == 3
    assert np.isnan(history.gradient_norm[:2]).all()
    assert "earlier version" in caplog.text
    states = load_checkpoint(tmp_path / "checkpoint.pt")["optimizer"]["parameters"]
    assert {float(state["step"]) for state in states.values()} == {6.0}
    assert states["guide.loc.weight"]["exp_avg"].shape == guide.loc.weight.shape


def test_a_file_of_a_later_version_says_so(tmp_path):
    torch.save({"format": 99, "model": {}, "guide": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="format 99, written by a later ppvae"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def plain(value):
    """Nested lists and numbers, NaN as a word, to be compared."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), plain(value.tolist())
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    """120 of them, drawn by a seed over the whole file."""
    train(directory=tmp_path, epochs=1, recipe=RECIPES["all of it"])
    path = tmp_path / "checkpoint.pt"
    content, whole = bytearray(path.read_bytes()), plain(load_checkpoint(path))
    noticed = harmless = 0
    for bit in np.random.default_rng(0).choice(8 * len(content), 120, replace=False).tolist():
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(content))
        try:
            found = plain(load_checkpoint(path))
        except UserError as error:
            noticed += "\n" not in str(error) and str(path) in str(error)
        else:
            assert found == whole, bit
            noticed += 1
            harmless += 1
        content[bit // 8] ^= 1 << bit % 8
    assert noticed == 120
    assert harmless < 40


BROKEN = {
    "history of unlike lengths": lambda c: c["history"]["loss"]["rows"].append(1.0),
    "no tensors": lambda c: c["guide"].update(extra=[1, 2]),
    "a number for a part": lambda c: c.update(optimizer=3),
    "an expanded storage": lambda c: c["model"].update(extra=torch.zeros(1).expand(10**6)),
    "NaN": lambda c: next(iter(c["guide"].values())).fill_(math.nan),
    "no guide": lambda c: c.pop("guide"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_malformed_checkpoint_is_one_line(name, begun, tmp_path):
    path = tmp_path / "checkpoint.pt"
    content = torch.load(begun / "checkpoint.pt", weights_only=True)
    BROKEN[name](content)
    torch.save(content, path)
    with pytest.raises(UserError, match="damaged or no checkpoint") as caught:
        load_pair(path, *make_pair())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_dtype_is_refused_before_anything_is_loaded(begun):
    model, guide = make_pair(9)
    guide.loc.double()
    before = states((model, guide))
    with pytest.raises(UserError, match=r"another guide: 'loc\.bias' has shape \(2,\) and float32 there"):
        load_pair(begun / "checkpoint.pt", model, guide)
    assert all(map(torch.equal, states((model, guide)), before))
