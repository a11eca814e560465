"""Validation: the images held apart, what is measured on them, and what follows from it."""

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

from guides import MeanFieldNormal
from ppvae import VAE, Annealed, BetaELBO, FreeBits, UserError, fit
from ppvae.datasets import ImageDataset, image_folder, npz, sprites
from ppvae.datasets.splitting import held_apart
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi import Patience, Recipe, load_pair

SHAPE, LATENTS = (1, 4, 4), 2
GREY = torch.randint(0, 256, (40, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
QUIET = {"compile": False, "progress": False, "accelerator": "cpu"}


def make_pair(shape=SHAPE):
    torch.manual_seed(0)
    model = VAE(NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS, shape, (8,)), 0.3))
    return model, MeanFieldNormal(MLPEncoder(shape, (8,)), LATENTS)


def train(data=None, pair=None, **options):
    arguments = {"epochs": 2, "batch_size": 8, **QUIET}
    return fit(*(pair or make_pair()), ImageDataset(GREY) if data is None else data, **arguments | options)


def states(pair):
    return [value.clone() for program in pair for value in program.state_dict().values()]


def test_a_share_is_held_apart_by_the_seed():
    kept, apart = held_apart(40, 0.25, seed=3)
    assert (len(kept), len(apart)) == (30, 10)
    assert sorted([*kept.tolist(), *apart.tolist()]) == list(range(40))
    assert kept.tolist() == sorted(kept.tolist())
    assert torch.equal(apart, held_apart(40, 0.25, seed=3)[1])
    assert not torch.equal(apart, held_apart(40, 0.25, seed=4)[1])
    assert [len(part) for part in held_apart(2, 0.01, 0)] == [len(part) for part in held_apart(2, 0.99, 0)] == [1, 1]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, True, float("nan"), "half"])
def test_a_share_that_is_none_is_one_line(share):
    with pytest.raises(UserError, match="expected a share of the images between 0 and 1"):
        held_apart(40, share, 0)
    with pytest.raises(UserError, match="leaves none to train on"):
        held_apart(1, 0.5, 0)


def sources(folder):
    from PIL import Image

    for index in range(10):
        Image.fromarray(np.full((8, 8), 20 * index, np.uint8)).save(folder / f"{index}.png")
    np.savez(folder / "a.npz", images=GREY[:10, 0].numpy())
    return {
        "stored": ImageDataset(GREY[:10]),
        "drawn on demand": sprites(size=10, image_size=32),
        "npz": npz(str(folder / "a.npz")),
        "folder": image_folder(folder, image_size=8, channels=1, resident=False),
        "with inputs": ImageDataset(GREY[:10], {"label": np.arange(10)}).with_inputs("label"),
    }


def test_every_source_is_split_alike(tmp_path):
    kept, apart = held_apart(10, 0.3, 5)
    for name, data in sources(tmp_path).items():
        training, validation = data.split(0.3, seed=5)
        assert torch.equal(training.stored(), data.stored()[kept]), name
        assert torch.equal(validation.stored(), data.stored()[apart]), name
        for one, rows in ((training, kept), (validation, apart)):
            assert all(torch.equal(now, then[rows]) for now, then in zip(one.given(), data.given(), strict=True))


def test_the_training_sees_no_image_of_the_validation():
    seen = []

    class Spy(MLPEncoder):
        def forward(self, images):
            if self.training:
                seen.append(images[:, 0, 0, 0])
            return super().forward(images)

    numbered = torch.linspace(0, 1, 40).view(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous()
    model, guide = make_pair()
    guide.encoder = Spy(SHAPE, (8,))
    train(numbered, (model, guide), validation=0.2, seed=7)
    expected = numbered[held_apart(40, 0.2, 7)[0], 0, 0, 0]
    assert torch.equal(torch.cat(seen[1:]).unique(), expected.unique())


def test_what_is_measured_is_the_bound_of_the_held_images():
    """At a rate of almost zero: the closed-form rate, and a distortion within five standard deviations of its draws."""
    model, guide = make_pair()
    history = train(pair=(model, guide), validation=0.25, learning_rate=1e-30)
    images = ImageDataset(GREY).split(0.25)[1].observed()
    with torch.no_grad():
        rate = kl_divergence(guide.posterior(images).base_dist, torch.distributions.Normal(0.0, 1.0)).sum(-1).mean()
        draws = [float(BetaELBO().measure(model, guide, images).distortion.mean()) for _ in range(60)]
    np.testing.assert_allclose(history.validation_rate, float(rate), rtol=1e-5)
    assert abs(float(history.validation_distortion[0]) - np.mean(draws)) < 5 * np.std(draws)
    np.testing.assert_allclose(history.validation_elbo, -history.validation_rate - history.validation_distortion)
    np.testing.assert_allclose(history.validation_loss, -history.validation_elbo, rtol=1e-6)
    np.testing.assert_array_equal(history.validation_loss[0], history.validation_loss[1])  # the same noise each epoch
    assert history.validation_elbo.attrs["units"] == "nats per image"


def test_the_loss_is_that_of_the_objective_with_its_schedules_over():
    objective = Annealed(objective=BetaELBO(beta=3.0), steps=1000)
    history = train(objective=objective, validation=0.25)
    expected = history.validation_distortion + 3 * history.validation_rate
    np.testing.assert_allclose(history.validation_loss, expected, rtol=1e-5)
    assert (history.warmth < 0.1).all()


def test_a_validation_changes_no_number_of_the_training():
    """The same images trained on, with and without others to validate on, and with them as tensors or as a data set."""
    first, second = GREY[:32], GREY[32:]
    plain, pair = train(ImageDataset(first), pair := make_pair()), pair
    for validation in (ImageDataset(second), second, (second,)):
        other = make_pair()
        history = train(ImageDataset(first), other, validation=validation)
        np.testing.assert_array_equal(history.loss, plain.loss)
        assert all(map(torch.equal, states(pair), states(other)))
        assert len(history.validation_loss) == 2


def test_parts_of_unlike_size_are_weighed_by_their_images():
    """Nine images in batches of eight: the mean over images, for a loss that is a mean over images."""
    history = [
        train(GREY[:32], validation=GREY[31:], learning_rate=1e-30, batch_size=size, epochs=1) for size in (8, 32)
    ]
    np.testing.assert_allclose(*[one.validation_rate for one in history], rtol=1e-5)


def test_early_stopping_keeps_the_best_epochs_pair(tmp_path):
    """A rate so high that the validation gets worse: the pair is that of the lowest loss, in memory and on disk."""
    rule = Patience(window=3)
    outcome = {}
    for where in (None, tmp_path):
        pair = make_pair()
        history = train(
            GREY[:8], pair, validation=GREY[8:], epochs=400, learning_rate=3e-2, stopping=rule, directory=where
        )
        losses = history.validation_loss.values
        assert len(losses) == losses.argmin() + 1 + 3 < 400
        outcome[where] = states(pair)
    assert all(map(torch.equal, *outcome.values()))
    fresh = make_pair()
    load_pair(tmp_path / "best.pt", *fresh)
    assert all(map(torch.equal, states(fresh), outcome[tmp_path]))
    again = train(GREY[:8], fresh := make_pair(), epochs=int(losses.argmin()) + 1, learning_rate=3e-2)
    np.testing.assert_array_equal(again.loss, history.loss[: len(again.loss)])
    assert all(map(torch.equal, states(fresh), outcome[tmp_path]))


def test_patience_counts_epochs_without_a_new_lowest():
    rule = Patience(window=2)
    losses = [5.0, 4.0, 4.5, 3.9, 3.9, 4.0]
    assert [rule.reached(losses[:n]) for n in range(1, 7)] == [False, False, False, False, False, True]
    assert Patience(window=2, least=1.0).reached([5.0, 4.5, 4.2])
    assert not Patience(window=2, least=0.5).reached([5.0, 4.5, 4.2])


def test_the_average_is_what_is_validated_kept_and_handed_over(tmp_path):
    recipe = Recipe(average=0.9)
    pair, plain = make_pair(), make_pair()
    history = train(pair=pair, recipe=recipe, validation=0.2, directory=tmp_path, epochs=3)
    raw = train(pair=plain, validation=0.2, epochs=3)
    assert history.validation_loss.values.argmin() == 2
    np.testing.assert_array_equal(history.loss, raw.loss)  # training itself goes on without it
    assert not np.isclose(history.validation_loss, raw.validation_loss).any()
    assert not any(map(torch.equal, states(pair), states(plain)))
    for name in ("checkpoint.pt", "best.pt"):
        fresh = make_pair()
        load_pair(tmp_path / name, *fresh)
        assert all(map(torch.equal, states(fresh), states(pair)))


MISTAKES = {
    "no share": ({"validation": 1.5}, "validation=1.5"),
    "other shape": ({"validation": torch.rand(4, 1, 5, 5)}, r"\(1, 5, 5\); expected some of shape \(1, 4, 4\)"),
    "none": ({"validation": GREY[:0]}, "validation has 0 images"),
    "no validation for Patience": ({"stopping": Patience()}, "give validation=0.1"),
    "other inputs": ({"validation": (GREY, torch.zeros(40))}, "1 inputs beside its images, the training's data 0"),
    "NaN": ({"validation": torch.full((4, *SHAPE), float("nan"))}, "4 of 4 images"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_before_training(name):
    options, said = MISTAKES[name]
    with pytest.raises(UserError, match=said) as caught:
        train(**options)
    assert "\n" not in str(caught.value)


def test_free_bits_are_validated_by_the_batch():
    history = train(objective=FreeBits(nats=5.0), validation=0.2)
    np.testing.assert_allclose(history.validation_loss, history.validation_distortion + 5.0 * LATENTS, rtol=1e-5)
