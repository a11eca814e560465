"""BatchNorm's statistics for drawing: those of the model's own draws, inside, and as they were, outside."""

import pytest
import torch

from ppvae import UserError
from ppvae.interventions import draw_images, reestimate


@pytest.fixture
def trained(hierarchy):
    """A pair whose running statistics are of something else, all numbers known."""
    pair = hierarchy(norm=True)
    norm = pair.top_down.norm
    with torch.no_grad():
        norm.running_mean.copy_(torch.linspace(-1, 1, 16))
        norm.running_var.copy_(torch.linspace(0.5, 3, 16))
    norm.num_batches_tracked.fill_(7)
    return pair


@pytest.mark.parametrize("batches", [1, 3])
def test_statistics_are_those_of_what_the_layer_met(trained, batches):
    """The plain average over batches of mean and unbiased variance."""
    norm, met = trained.top_down.norm, []
    hook = norm.register_forward_pre_hook(lambda _, given: met.append(given[0].detach()))
    with reestimate(trained.model, temperature=0.7, batches=batches, size=32):
        hook.remove()
        assert [len(batch) for batch in met] == [32] * batches
        torch.testing.assert_close(norm.running_mean, torch.stack([b.mean(0) for b in met]).mean(0))
        torch.testing.assert_close(norm.running_var, torch.stack([b.var(0) for b in met]).mean(0))


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_they_are_those_at_the_temperature_of_drawing(trained, temperature):
    """The layer meets A z_1, z_1 ~ N(b, t²): mean A b, variance t² Σ A²; 10 000 draws, 5 standard errors."""
    top_down, draws = trained.top_down, 10_000
    matrix, loc = top_down.enter["z_1"].weight.detach(), top_down.prior["z_1"].bias.detach()
    variance = temperature**2 * matrix.square().sum(1)
    with reestimate(trained.model, temperature=temperature, batches=20, size=draws // 20, seed=1):
        assert ((top_down.norm.running_mean - matrix @ loc).abs() < 5 * (variance / draws).sqrt()).all()
        assert ((top_down.norm.running_var / variance - 1).abs() < 5 * (2 / draws) ** 0.5).all()


def test_images_are_drawn_with_them(trained):
    outside = draw_images(trained.model, 3)
    with reestimate(trained.model):
        assert not draw_images(trained.model, 3).equals(outside)
    assert draw_images(trained.model, 3).equals(outside)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_before_afterwards(trained, fails):
    model, norm = trained.model.train(), trained.top_down.norm
    norm.momentum = 0.05
    before = {name: one.clone() for name, one in model.state_dict().items()}
    random = torch.get_rng_state()
    try:
        with reestimate(model, batches=2, size=4):
            assert torch.equal(torch.get_rng_state(), random)
            assert norm.training
            assert norm.momentum == 0.05
            parameters = dict(model.named_parameters())
            assert all(torch.equal(one, before[name]) for name, one in parameters.items())
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_other_layers_run_as_in_evaluation(trained):
    dropout = torch.nn.Dropout(0.5)
    trained.model.likelihood.register_module("dropout", dropout.train())
    met = []
    trained.top_down.norm.register_forward_pre_hook(lambda module, _: met.append((module.training, dropout.training)))
    with reestimate(trained.model, batches=2, size=4):
        assert met == [(True, False)] * 2
    assert dropout.training


def test_a_model_without_batch_norm_is_not_run(hierarchy):
    pair, runs = hierarchy(), []
    pair.top_down.enter["z_1"].register_forward_hook(lambda *_: runs.append(1))
    with reestimate(pair.model), reestimate(lambda size: pair.model(size=size)):
        assert not runs


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"batches": 0}, "batches=0: expected a whole number of at least 1"),
        ({"size": 1}, "size=1: expected a whole number of at least 2"),
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"sites": ["w"], "temperature": 0.5}, "sites='w': expected one of z_1, z_2, z_3"),
    ],
)
def test_mistakes_are_named_and_leave_the_statistics(trained, settings, line):
    kept = trained.top_down.norm.running_mean.clone()
    with pytest.raises(UserError, match=line), reestimate(trained.model, **settings):
        pass
    assert torch.equal(trained.top_down.norm.running_mean, kept)
    assert trained.top_down.norm.momentum == 0.1
