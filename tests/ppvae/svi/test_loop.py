"""The training loop: same seed, same numbers; nothing global changes; what a user gets wrong ends in one line."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, BetaELBO, UserError, fit
from ppvae.datasets import ImageDataset, sprite_grid
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior, VampPrior
from ppvae.svi import Plateau, load_pair
from ppvae.svi.loop import Loop

SHAPE, LATENTS = (1, 8, 8), 3
SPEED = ("seconds", "images_per_second")
ENDLESS = Plateau(tolerance=1e-9)
EAGER = {"compile": False, "progress": False, "accelerator": "cpu"}


def make_pair(kind: str = "normal", shape=SHAPE, hidden: int = 16, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        prior = NormalPrior(LATENTS) if kind == "normal" else NormalGammaPrior(LATENTS)
        model = VAE(prior, NormalLikelihood(MLPDecoder(LATENTS, shape, hidden=[hidden]), scale=0.3))
        encoder = MLPEncoder(shape, hidden=[hidden])
        guide = MeanFieldNormal(encoder, LATENTS) if kind == "normal" else NormalGammaGuide(encoder, LATENTS)
    return model, guide


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(70, *SHAPE, generator=torch.Generator().manual_seed(1)).round()


def train(images, kind="normal", pair=None, **arguments):
    """A history without its timings, and the pair."""
    pair = pair or make_pair(kind)
    history = fit(*pair, images, **{"epochs": 3, "batch_size": 16, **EAGER, **arguments})
    return history.drop_vars(SPEED), pair


def states(pair) -> dict[str, torch.Tensor]:
    return {f"{i}.{name}": value.clone() for i, m in enumerate(pair) for name, value in m.state_dict().items()}


def assert_equal_states(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def one_line(caught) -> str:
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["normal", "normal_gamma"])
def test_history_holds_epoch_means_in_nats(images, kind):
    history = fit(*make_pair(kind), images, epochs=3, batch_size=16, **EAGER)
    scalars = {"loss", "elbo", "rate", "distortion", "learning_rate", "gradient_norm", "largest_gradient_norm", *SPEED}
    latent = {"kl"} if kind == "normal" else {"kl", "p"}
    assert set(history.data_vars) == scalars | latent
    assert dict(history.sizes) == {"epoch": 3, "latent": LATENTS}
    assert history.epoch.values.tolist() == [1, 2, 3]
    for name in scalars:
        assert history[name].dims == ("epoch",), name
    for name in latent:
        assert history[name].dims == ("epoch", "latent"), name
    for name in ("loss", "elbo", "rate", "distortion", "kl"):
        assert "nats" in history[name].attrs["units"]
    np.testing.assert_allclose(history.elbo, -(history.rate + history.distortion), rtol=1e-12)
    np.testing.assert_allclose(history.loss, -history.elbo, rtol=1e-5)
    np.testing.assert_allclose(history.kl.sum("latent"), history.rate, rtol=1e-4)
    assert (history.learning_rate == 1e-3).all()
    assert np.isfinite(history.loss).all()
    assert (history.images_per_second > 0).all()
    if kind == "normal_gamma":
        assert ((history.p > 0) & (history.p < 1)).all()


def test_history_is_what_the_objective_measures(images):
    """At a learning rate of almost zero, an epoch's means are those of the untrained pair on the epoch's images."""
    pair = make_pair()
    history, _ = train(images[:64], pair=pair, epochs=1, learning_rate=1e-30)
    model, guide = make_pair()
    q = guide.posterior(images[:64]).base_dist
    kl = torch.distributions.kl_divergence(q, dist.Normal(0.0, 1.0)).mean(0)
    np.testing.assert_allclose(history.kl[0], kl.detach(), rtol=1e-4)
    draws = [float(BetaELBO().measure(model, guide, images[:64]).distortion.mean().detach()) for _ in range(50)]
    assert abs(float(history.distortion[0]) - np.mean(draws)) < 5 * np.std(draws)


def test_loss_weighs_the_rate(images):
    history, _ = train(images, objective=BetaELBO(beta=7.0))
    np.testing.assert_allclose(history.loss, history.distortion + 7 * history.rate, rtol=1e-5)
    np.testing.assert_allclose(history.elbo, -history.distortion - history.rate, rtol=1e-6)


def test_training_lowers_the_loss_in_place(images):
    pair = make_pair()
    before = states(pair)
    history, _ = train(images, pair=pair, epochs=10, learning_rate=1e-2)
    assert history.loss[-1] < history.loss[0] - 1
    after = states(pair)
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert all(module.training for part in pair for module in part.modules())


@pytest.mark.parametrize("execution", ["eager", "captured"])
def test_frozen_parameters_stay(images, execution):
    model, guide = make_pair()
    model.requires_grad_(False)
    guide.log_variance.bias.requires_grad_(False)
    before = states((model, guide))
    train(images, pair=(model, guide), compile=True, execution=execution)
    after = states((model, guide))
    frozen = {name for name in before if name.startswith("0.") or name == "1.log_variance.bias"}
    assert {name for name in before if torch.equal(before[name], after[name])} == frozen


def test_one_seed_gives_one_history_and_another_seed_another(images):
    first, pair = train(images, kind="normal_gamma")
    second, again = train(images, kind="normal_gamma")
    assert first.identical(second)
    assert_equal_states(states(pair), states(again))
    other, _ = train(images, kind="normal_gamma", seed=1)
    assert not np.isclose(first.loss, other.loss, rtol=1e-6).any()


def test_numbers_do_not_depend_on_the_callers_random_state(images):
    torch.manual_seed(1)
    first, _ = train(images)
    torch.manual_seed(2)
    second, _ = train(images)
    assert first.identical(second)


def test_random_state_and_parameter_store_stay_as_they_were(images):
    torch.manual_seed(5)
    pyro.get_param_store().clear()
    state, settings = torch.get_rng_state(), pyro.settings.get()
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state that must stay
    train(images, kind="normal_gamma")
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert not pyro.get_param_store().keys()
    assert pyro.settings.get() == settings
    pyro.param("mine", torch.ones(2))
    train(images)
    assert list(pyro.get_param_store().keys()) == ["mine"]
    pyro.get_param_store().clear()


def test_captured_training_is_eager_training(images):
    eager, _ = train(images, kind="normal_gamma")
    captured, _ = train(images, kind="normal_gamma", compile=True, execution="captured")
    np.testing.assert_allclose(captured.loss, eager.loss, rtol=1e-5)


def test_every_image_is_used_at_most_once_an_epoch():
    seen = []

    class Spy(MLPEncoder):
        def forward(self, images):
            if self.training:
                seen.append(images[:, 0, 0, 0])
            return super().forward(images)

    numbered = torch.linspace(0, 1, 37).reshape(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous()
    model, guide = make_pair()
    guide.encoder = Spy(SHAPE, hidden=[16])
    train(numbered, pair=(model, guide), epochs=2, batch_size=8)
    assert {len(batch) for batch in seen} == {8}
    epochs = torch.cat(seen[-8:]).reshape(2, 32)  # four batches of eight; five images are left out
    assert all(len(epoch.unique()) == 32 for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_fewer_images_than_a_batch_are_one_batch(images):
    history, _ = train(images[:5], epochs=2, batch_size=64)
    assert history.sizes["epoch"] == 2


def test_bytes_and_floats_of_the_same_images_train_alike(images):
    floats, _ = train(images)
    stored, _ = train((images * 255).to(torch.uint8))
    resident, _ = train(ImageDataset(images))
    assert floats.identical(stored)
    assert floats.identical(resident)


def test_images_drawn_on_demand_train_as_resident_ones_do():
    grid = sprite_grid(levels={"hue": 4, "x": 3, "y": 3, "depth": 2}, image_size=32)
    shape = grid.image_shape
    lazy, _ = train(grid, pair=make_pair(shape=shape), epochs=2)
    resident, _ = train(ImageDataset(grid.stored()), pair=make_pair(shape=shape), epochs=2)
    assert lazy.identical(resident)


# Stopping


def test_plateau_lowers_the_learning_rate_and_the_next_one_stops(images):
    always = Plateau(window=3, tolerance=1e6, factor=0.5)
    history, _ = train(images, epochs=20, stopping=always)
    assert history.learning_rate.values.tolist() == [1e-3] * 3 + [5e-4] * 3
    twice, _ = train(images, epochs=20, stopping=Plateau(window=2, tolerance=1e6, factor=0.1, drops=2))
    np.testing.assert_allclose(twice.learning_rate, [1e-3] * 2 + [1e-4] * 2 + [1e-5] * 2)
    once, _ = train(images, epochs=20, stopping=Plateau(window=2, tolerance=1e6, drops=0))
    assert once.sizes["epoch"] == 2


def test_no_plateau_trains_to_the_end(images):
    history, _ = train(images, epochs=8, stopping=ENDLESS)
    assert history.sizes["epoch"] == 8


# Resuming


@pytest.mark.parametrize("kind", ["normal", "normal_gamma"])
def test_a_resumed_run_equals_an_uninterrupted_one(images, kind, tmp_path):
    whole, pair = train(images, kind=kind, epochs=4, directory=tmp_path / "whole")
    train(images, kind=kind, epochs=2, directory=tmp_path / "parts")
    torch.manual_seed(99)
    fresh = make_pair(kind, seed=5)
    resumed, _ = train(images, pair=fresh, epochs=4, directory=tmp_path / "parts", resume=True)
    assert resumed.identical(whole)
    assert_equal_states(states(fresh), states(pair))


@pytest.mark.parametrize("interrupted_after", [1, 2, 3, 4, 5])
def test_a_run_resumes_through_a_drop_of_the_learning_rate(images, interrupted_after, tmp_path):
    rule = Plateau(window=2, tolerance=1e6, factor=0.1, drops=2)
    whole, pair = train(images, epochs=9, stopping=rule)
    assert whole.sizes["epoch"] == 6
    train(images, epochs=interrupted_after, stopping=rule, directory=tmp_path)
    fresh = make_pair(seed=5)
    resumed, _ = train(images, pair=fresh, epochs=9, stopping=rule, directory=tmp_path, resume=True)
    assert resumed.identical(whole)
    assert_equal_states(states(fresh), states(pair))


@pytest.mark.parametrize("stopping", [None, Plateau(window=2, tolerance=1e6, drops=0)], ids=["epochs", "plateau"])
def test_a_finished_run_resumes_to_nothing(images, stopping, tmp_path):
    first, pair = train(images, epochs=2, stopping=stopping, directory=tmp_path)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    fresh = make_pair(seed=5)
    epochs = 2 if stopping is None else 50
    second, _ = train(images, pair=fresh, epochs=epochs, stopping=stopping, directory=tmp_path, resume=True)
    assert second.identical(first)
    assert_equal_states(states(fresh), states(pair))
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_an_interrupted_epoch_leaves_the_last_checkpoint(images, tmp_path, monkeypatch):
    """A kill in the middle of an epoch: the run continues from the epoch before, with the same numbers."""
    whole, _ = train(images, epochs=3)
    calls = {"left": 6}
    step = torch.optim.Adam.step

    def killed(self, *args, **kwargs):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(images, epochs=3, directory=tmp_path)
    resumed, _ = train(images, epochs=3, directory=tmp_path, resume=True)
    assert resumed.identical(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "history.csv", "tensorboard"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"batch_size": 8}, "batch_size"),
        ({"seed": 3}, "seed"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"objective": BetaELBO(beta=2.0)}, "beta"),
        ({"objective": BetaELBO(estimator="trace")}, "estimator"),
    ],
    ids=["batch_size", "seed", "learning_rate", "beta", "estimator"],
)
def test_resuming_with_other_settings_ends_in_one_line(images, change, name, tmp_path):
    train(images, epochs=1, directory=tmp_path)
    with pytest.raises(UserError, match=name) as caught:
        train(images, epochs=2, directory=tmp_path, resume=True, **change)
    one_line(caught)


def test_resuming_with_other_images_ends_in_one_line(images, tmp_path):
    train(images, epochs=1, directory=tmp_path)
    with pytest.raises(UserError, match="images") as caught:
        train(images[:40], epochs=2, directory=tmp_path, resume=True)
    one_line(caught)


def test_resuming_another_pair_ends_in_one_line(images, tmp_path):
    train(images, epochs=1, directory=tmp_path)
    for other in (make_pair(hidden=8), make_pair("normal_gamma")):
        with pytest.raises(UserError, match=r"another (model|guide)") as caught:
            train(images, pair=other, epochs=2, directory=tmp_path, resume=True)
        assert str(tmp_path) in one_line(caught)


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "empty", "foreign", "old format", "folder"])
def test_a_checkpoint_that_cannot_be_read_ends_in_one_line(images, damage, tmp_path):
    train(images, epochs=1, directory=tmp_path)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "garbage":
        path.write_bytes(b"not a checkpoint at all")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        torch.save({"weights": torch.ones(2)}, path)
    elif damage == "old format":
        torch.save({"format": 0}, path)
    elif damage == "folder":
        path.mkdir()
    for resuming in (
        lambda: train(images, epochs=2, directory=tmp_path, resume=True),
        lambda: load_pair(path, *make_pair()),
    ):
        with pytest.raises(UserError, match="checkpoint") as caught:
            resuming()
        assert str(path) in one_line(caught)


class Evil:
    """Code in a pickle: a checkpoint must not run it."""

    def __reduce__(self):
        return (Path.touch, (Path("evil"),))


def test_a_checkpoint_that_holds_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "model": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError) as caught:
        load_pair(tmp_path / "checkpoint.pt", *make_pair())
    one_line(caught)
    assert not (tmp_path / "evil").exists()


def test_a_checkpoint_without_a_part_ends_in_one_line(images, tmp_path):
    train(images, epochs=1, directory=tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del content["guide"]
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError) as caught:
        load_pair(tmp_path / "checkpoint.pt", *make_pair())
    one_line(caught)


def test_a_directory_of_another_run_is_left_alone_without_resume(images, tmp_path):
    train(images, epochs=2, directory=tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(UserError, match="holds a run already; give resume=True") as caught:
        train(images, epochs=1, directory=tmp_path)
    one_line(caught)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == kept


# Files


def test_checkpoint_holds_tensors_numbers_and_strings_alone(images, tmp_path):
    _, pair = train(images, kind="normal_gamma", epochs=2, directory=tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["settings"]["batch_size"] == 16
    fresh = make_pair("normal_gamma", seed=5)
    load_pair(tmp_path / "checkpoint.pt", *fresh)
    assert_equal_states(states(fresh), states(pair))


def test_history_csv_and_tensorboard_events_hold_the_history(images, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(images, kind="normal_gamma", epochs=2, directory=tmp_path)
    resumed, _ = train(images, kind="normal_gamma", epochs=3, directory=tmp_path, resume=True)
    table = pd.read_csv(tmp_path / "history.csv", index_col="epoch")
    assert set(table) == {name for name in resumed if resumed[name].dims == ("epoch",)} | set(SPEED)
    for name in ("loss", "elbo", "rate", "distortion", "learning_rate"):
        np.testing.assert_allclose(table[name], resumed[name], rtol=1e-12)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    loss = events.Scalars("loss")
    assert [event.step for event in loss] == [1, 2, 3]
    np.testing.assert_allclose([event.value for event in loss], resumed.loss, rtol=1e-6)
    p = [[event.value for event in events.Scalars(f"p/{k}")] for k in range(LATENTS)]
    np.testing.assert_allclose(p, resumed.p.T, rtol=1e-6)


def test_nothing_is_written_without_a_directory(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(images, epochs=1)
    assert not list(tmp_path.iterdir())


def test_progress_is_the_only_thing_said(images, capfd):
    train(images, epochs=1)
    assert capfd.readouterr() == ("", "")
    train(images, epochs=2, progress=True)  # no terminal, no bar
    said = capfd.readouterr()
    assert said.out == ""
    assert [line[:10] for line in said.err.splitlines()] == ["epoch 1/2:", "epoch 2/2:"]
    assert "\r" not in said.err


def test_a_terminal_shows_a_bar(images, capfd, monkeypatch):
    for user in ("progress", "loop"):
        monkeypatch.setattr(f"ppvae.svi.{user}.drawable", lambda: True)
    train(images, epochs=1, progress=True)
    said = capfd.readouterr()
    assert said.out == ""
    assert "step/s" in said.err
    assert "epoch 1/1" not in said.err


# Users' mistakes


def with_nan(images):
    images = images.clone()
    images[3, 0, 2, 2] = float("nan")
    return images


MISTAKES = {
    "NaN pixels": ({"images": with_nan}, "1 of 70 images"),
    "infinite pixels": ({"images": lambda x: torch.cat([x, x[:2] / 0])}, "2 of 72 images"),
    "other size": ({"images": lambda x: x[:, :, :4]}, "1, 4, 8.*1, 8, 8"),
    "channels": ({"images": lambda x: x.expand(-1, 3, -1, -1)}, "3, 8, 8.*1, 8, 8"),
    "no channel axis": ({"images": lambda x: x[:, 0]}, "channel"),
    "no images": ({"images": lambda x: x[:0]}, "no images"),
    "integers": ({"images": lambda x: x.to(torch.int64)}, "int64"),
    "double precision": ({"images": lambda x: x.double()}, "float64"),
    "an array": ({"images": lambda x: x.numpy()}, "ndarray|array"),
    "half an epoch": ({"epochs": 1.5}, "epochs.*1.5"),
    "no epochs": ({"epochs": 0}, "epochs.*0"),
    "negative epochs": ({"epochs": -1}, "epochs.*-1"),
    "no learning rate": ({"learning_rate": 0.0}, "learning_rate.*0"),
    "negative learning rate": ({"learning_rate": -1.0}, "learning_rate.*-1"),
    "learning rate NaN": ({"learning_rate": float("nan")}, "learning_rate.*nan"),
    "infinite learning rate": ({"learning_rate": float("inf")}, "learning_rate.*inf"),
    "no batch": ({"batch_size": 0}, "batch_size.*0"),
    "no device": ({"devices": 0}, "devices.*0"),
    "a batch for two of three": ({"batch_size": 16, "devices": 3}, "16.*3"),
    "resume from nowhere": ({"resume": True}, "directory"),
    "accelerator": ({"accelerator": "warp"}, "warp"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_one_line(images, name):
    change, expected = MISTAKES[name]
    change = dict(change)
    images = change.pop("images", lambda x: x)(images)
    with pytest.raises(UserError, match=expected) as caught:
        train(images, **change)
    one_line(caught)


def test_a_guide_that_is_no_module_ends_in_one_line(images):
    model, guide = make_pair()
    with pytest.raises(UserError, match="guide is a function") as caught:
        train(images, pair=(model, lambda x: guide(x)))
    one_line(caught)
    with pytest.raises(UserError, match="model is a function") as caught:
        train(images, pair=(lambda x: model(x), guide))
    one_line(caught)


def test_a_guide_without_parameters_trains_the_model(images):
    class Fixed(nn.Module):
        def forward(self, images):
            with pyro.plate("image", len(images), dim=-1):
                pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1), infer={"event_dims": ["latent"]})

    model = make_pair()[0]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    train(images, pair=(model, Fixed()), epochs=1)
    assert not all(map(torch.equal, before, model.parameters()))


def test_a_pair_that_does_not_fit_ends_in_one_line(images):
    with pytest.raises(UserError, match="'precision'") as caught:
        train(images, pair=(make_pair("normal")[0], make_pair("normal_gamma")[1]))
    one_line(caught)


def test_a_loss_that_explodes_ends_in_one_line_and_keeps_the_last_checkpoint(images, tmp_path):
    train(images, epochs=1, directory=tmp_path)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(UserError, match="learning_rate") as caught:
        train(images, epochs=5, learning_rate=1e30, directory=tmp_path / "other")
    one_line(caught)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


# Several processes


@pytest.mark.long
def test_two_processes_train_one_pair_as_one_process_does(images, tmp_path):
    """With a guide that draws almost no noise, the mean of two half batches is the whole batch."""

    def quiet_pair():
        model, guide = make_pair()
        nn.init.zeros_(guide.log_variance.weight)
        nn.init.constant_(guide.log_variance.bias, -20)
        return model, guide

    settings = {"epochs": 6, "learning_rate": 1e-2}
    alone, _ = train(images, pair=quiet_pair(), **settings)
    pair = quiet_pair()
    before = states(pair)
    history, _ = train(images, pair=pair, devices=2, directory=tmp_path, **settings)
    np.testing.assert_allclose(history.loss, alone.loss, rtol=1e-3)
    assert history.loss[-1] < history.loss[0] - 1
    after = states(pair)
    assert all(not torch.equal(before[name], after[name]) for name in before)
    fresh = make_pair(seed=5)
    load_pair(tmp_path / "checkpoint.pt", *fresh)
    assert_equal_states(states(fresh), after)


@pytest.mark.long
def test_two_processes_resume(images, tmp_path):
    both = {"devices": 2, "learning_rate": 1e-2}
    whole, pair = train(images, epochs=3, **both)
    train(images, epochs=2, directory=tmp_path, **both)
    fresh = make_pair(seed=5)
    resumed, _ = train(images, pair=fresh, epochs=3, directory=tmp_path, resume=True, **both)
    assert resumed.identical(whole)
    assert_equal_states(states(fresh), states(pair))


@pytest.mark.long
def test_two_processes_hand_over_large_networks_that_share_parts(images):
    """More than a pipe's buffer holds (this hung), and a prior that mixes the guide's own posteriors."""
    shape = tuple(images.shape[1:])
    guide = MeanFieldNormal(MLPEncoder(shape, hidden=[4000]), 3)
    prior = VampPrior(3, shape, components=2, guide=guide)
    model = VAE(prior, NormalLikelihood(MLPDecoder(3, shape, hidden=[16]), scale=0.3))
    assert sum(p.numel() * p.element_size() for p in guide.parameters()) > 2**20
    before = states((model, guide))
    history, _ = train(images, pair=(model, guide), devices=2, epochs=2, learning_rate=1e-2)
    assert history.loss[-1] < history.loss[0]
    after = states((model, guide))
    assert not [name for name in before if torch.equal(before[name], after[name])]
    assert model.prior.guide is guide
    assert all(torch.equal(after[f"0.prior.guide.{n}"], after[f"1.{n}"]) for n, _ in guide.named_parameters())


@pytest.mark.parametrize(
    ("likelihood", "floor"),
    [
        (lambda decoder: NormalLikelihood(decoder, scale=0.02), 64 * (math.log(0.02) + 0.5 * math.log(2 * math.pi))),
        (lambda decoder: NormalLikelihood(decoder, scale_mode="learned"), 0.0),
        (BernoulliLikelihood, 0.0),
    ],
    ids=["normal", "learned scale", "bernoulli"],
)
def test_the_stopping_rule_is_blind_to_the_constant_of_the_likelihood(images, likelihood, floor, monkeypatch):
    """Eq. 8 leaves the constant out; a floor that the user gives stays."""
    seen = []
    monkeypatch.setattr(
        "ppvae.svi.training.Loop", lambda _fabric, run: seen.append(run.settings.recipe.stopping) or Loop(_fabric, run)
    )
    model = VAE(NormalPrior(LATENTS), likelihood(MLPDecoder(LATENTS, SHAPE, hidden=[16])))
    for rule in (Plateau(), Plateau(floor=3.0)):
        train(images.round(), pair=(model, make_pair()[1]), epochs=1, stopping=rule)
    assert [rule.floor for rule in seen] == [pytest.approx(floor, rel=1e-5), 3.0]


def test_a_parameter_of_the_global_store_ends_in_one_line(images):
    """The optimiser would not see it."""

    class Stored(nn.Module):
        def __init__(self):
            super().__init__()
            self.guide = make_pair()[1]

        def forward(self, images):
            pyro.param("shift", torch.zeros(()))
            return self.guide(images)

    with pytest.raises(UserError, match="'shift' lives in Pyro's global store") as caught:
        train(images, pair=(make_pair()[0], Stored()), epochs=1)
    one_line(caught)
