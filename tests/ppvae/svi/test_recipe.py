"""Recipes: what torch's own optimisers and schedules would do, by hand."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from ppvae import UserError
from ppvae.svi import Patience, Plateau, Recipe
from ppvae.svi.averaging import Average
from ppvae.svi.optimisation import Optimisation


class Bowl(nn.Module):
    """A quadratic in three numbers, whose gradient is the numbers themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([3.0, -4.0]))
        self.second = nn.Parameter(torch.tensor(12.0))

    def descend(self, optimisation: Optimisation, steps: int, spoil: dict[int, float] | None = None) -> list[float]:
        rates = []
        for step in range(steps):
            for parameter in self.parameters():
                parameter.grad = parameter.detach().clone()
            if spoil and step in spoil:
                self.second.grad.fill_(spoil[step])
            rates.append(optimisation.learning_rate)
            optimisation.step()
        return rates

    def values(self) -> torch.Tensor:
        return torch.cat([self.first.detach(), self.second.detach()[None]])


def descended(steps: int = 3, spoil: dict[int, float] | None = None, **options) -> tuple[Bowl, Optimisation]:
    bowl = Bowl()
    optimisation = Optimisation(Recipe(**{"optimizer": "sgd", "learning_rate": 0.1} | options), bowl, steps)
    bowl.descend(optimisation, steps, spoil)
    return bowl, optimisation


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.99)}),
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.1}),
        ("adamax", torch.optim.Adamax, {"eps": 1e-3, "weight_decay": 0.2}),
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        (partial(torch.optim.RMSprop, alpha=0.5), partial(torch.optim.RMSprop, alpha=0.5), {}),
    ],
)
def test_an_optimiser_is_torchs(name, kind, options):
    bowl, _ = descended(5, optimizer=name, options=options)
    by_hand = Bowl()
    optimizer = kind(by_hand.parameters(), lr=0.1, **options)
    for _ in range(5):
        for parameter in by_hand.parameters():
            parameter.grad = parameter.detach().clone()
        optimizer.step()
    torch.testing.assert_close(bowl.values(), by_hand.values(), rtol=1e-5, atol=1e-6)


def test_a_cosine_with_warm_up_ends_at_its_share():
    rates = Bowl().descend(
        Optimisation(Recipe(schedule="cosine", warmup=4, final=0.1, learning_rate=2.0), Bowl(), 14), 15
    )
    np.testing.assert_allclose(rates[:5], [0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(rates[9], 2 * (0.1 + 0.9 * 0.5), rtol=1e-6)  # half way
    np.testing.assert_allclose(rates[14], 0.2)
    by_hand = [2 * (0.1 + 0.45 * (1 + math.cos(math.pi * k / 10))) for k in range(11)]
    np.testing.assert_allclose(rates[4:], by_hand)


def test_a_scheduler_of_torchs_moves_after_epochs_or_after_steps():
    for stepped, expected in (("epoch", [1.0] * 4), ("step", [1.0, 1.0, 0.5, 0.5])):
        recipe = Recipe(learning_rate=1.0, schedule=partial(StepLR, step_size=2, gamma=0.5), stepped=stepped)
        bowl = Bowl()
        optimisation = Optimisation(recipe, bowl, 4)
        assert bowl.descend(optimisation, 4) == expected
        for _ in range(2):
            optimisation.end_epoch(0.0)
        assert optimisation.learning_rate == (0.5 if stepped == "epoch" else 0.25)


def test_a_plateau_of_torchs_sees_what_is_watched():
    recipe = Recipe(learning_rate=1.0, schedule=partial(ReduceLROnPlateau, patience=1, factor=0.5))
    bowl = Bowl()
    optimisation = Optimisation(recipe, bowl, 4)
    bowl.descend(optimisation, 1)
    rates = []
    for loss in (3.0, 2.0, 2.0, 2.0, 1.0):
        optimisation.end_epoch(loss)
        rates.append(optimisation.learning_rate)
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5]


def test_the_norm_is_clipped_over_all_parameters():
    """|(3, −4, 12)| = 13: clipped to 1.3 the step is a tenth."""
    bowl, optimisation = descended(1, clip_norm=1.3)
    torch.testing.assert_close(bowl.values(), torch.tensor([3.0, -4.0, 12.0]) * (1 - 0.01), rtol=1e-5, atol=0)
    assert optimisation.measured() == pytest.approx({"gradient_norm": 13.0, "largest_gradient_norm": 13.0})
    untouched, _ = descended(1, clip_norm=13.1)
    torch.testing.assert_close(untouched.values(), torch.tensor([3.0, -4.0, 12.0]) * 0.9)


def test_entries_are_clipped_by_value():
    bowl, _ = descended(1, clip_value=3.5)
    torch.testing.assert_close(bowl.values(), torch.tensor([2.7, -3.65, 11.65]))


@pytest.mark.parametrize("broken", [math.nan, math.inf, 100.0])
def test_a_step_with_a_broken_or_huge_gradient_is_skipped_and_counted(broken):
    bowl, optimisation = descended(3, {0: broken}, skip_norm=50.0, average=0.5)
    plain, _ = descended(2)
    torch.testing.assert_close(bowl.values(), plain.values())
    assert optimisation.measured()["skipped"] == 1
    assert optimisation.average.updates == 2
    assert descended(1, {0: broken}, skip_norm=math.inf)[1].skipped == int(not math.isfinite(broken))


def test_the_average_is_the_formulas():
    """d(n) = min(0.6, (1 + n) / (10 + n)) of the parameters after each step."""
    bowl, optimisation = descended(8, average=0.6)
    plain, average = Bowl(), Bowl().values()
    for n in range(8):
        plain.descend(Optimisation(Recipe(optimizer="sgd", learning_rate=0.1), plain, 1), 1)
        decay = min(0.6, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * plain.values()
    values = torch.cat([value.flatten() for value in optimisation.average.values])
    torch.testing.assert_close(values, average)
    torch.testing.assert_close(bowl.values(), plain.values())


def test_a_shared_network_is_averaged_once_and_put_back():
    shared = nn.Linear(2, 2)
    both = nn.ModuleList([nn.Sequential(shared), nn.Sequential(shared, nn.BatchNorm1d(2))])
    average = Average(both, 0.9)
    assert len(average.values) == 4
    before = {name: value.clone() for name, value in both.state_dict().items()}
    with torch.no_grad():
        shared.weight.add_(1.0)
    average.update()
    data = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    after = {name: value.clone() for name, value in both.state_dict().items()}
    with average.applied(lambda: iter([[data], [data]]), both[1]):
        decay = 0.1
        torch.testing.assert_close(shared.weight, before["0.0.weight"] + (1 - decay))
        torch.testing.assert_close(both[1][1].running_mean, shared(data).mean(0))
        torch.testing.assert_close(both[1][1].running_var, shared(data).var(0))
    for name, value in both.state_dict().items():
        assert torch.equal(value, after[name]), name


def test_states_follow_the_names_whatever_the_order():
    class Swapped(Bowl):
        def __init__(self) -> None:
            super().__init__()
            first, second = self.first, self.second
            del self.first, self.second
            self.second, self.first = second, first

    recipe = Recipe(learning_rate=0.1, schedule="cosine")
    one, other = Bowl(), Swapped()
    optimisation = Optimisation(recipe, one, 10)
    one.descend(optimisation, 4)
    other.load_state_dict(one.state_dict())
    continued = Optimisation(recipe, other, 10)
    continued.restore(copy.deepcopy(optimisation.state()))
    one.descend(optimisation, 4)
    other.descend(continued, 4)
    torch.testing.assert_close(one.values(), other.values(), rtol=0, atol=0)


MISTAKES = {
    "rate": ({"learning_rate": 0.0}, "learning_rate=0.0"),
    "optimizer": ({"optimizer": "adan"}, "optimizer='adan': expected one of adam, adamw, adamax, sgd"),
    "options": ({"options": {"momentun": 0.9}}, "momentun"),
    "schedule": ({"schedule": "linear"}, "schedule='linear': expected one of constant, cosine"),
    "a scheduler that needs more": ({"schedule": StepLR}, "step_size"),
    "no scheduler": ({"schedule": lambda optimizer: optimizer}, "no torch LRScheduler"),
    "no optimiser": ({"optimizer": lambda _, lr: lr}, "no torch Optimizer"),
    "warm-up twice": ({"schedule": partial(StepLR, step_size=2), "warmup": 3}, "SequentialLR"),
    "warm-up": ({"warmup": -1}, "warmup=-1"),
    "clip": ({"clip_norm": 0}, "clip_norm=0"),
    "skip": ({"skip_norm": math.nan}, "skip_norm=nan"),
    "average": ({"average": 1.0}, "average=1.0: expected a decay"),
    "precision": ({"precision": "fp8"}, "precision='fp8'"),
    "parts": ({"accumulate": 0}, "accumulate=0"),
    "segments": ({"recompute": -1}, "recompute=-1: expected a number of segments"),
    "segments, in words": ({"recompute": "all"}, "recompute='all': expected a number of segments, such as 4, 'auto'"),
    "segments, a truth": ({"recompute": True}, "recompute=True"),
    "budget": ({"memory_budget": 2}, "memory_budget=2: expected a share of the activations"),
    "no budget": ({"memory_budget": 0.0}, "memory_budget=0.0"),
    "rule": ({"stopping": "never"}, "stopping is a str"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_at_once(name):
    options, said = MISTAKES[name]
    with pytest.raises(UserError, match=said) as caught:
        Recipe(**options)
    assert "\n" not in str(caught.value)


def test_what_a_run_is_continued_with_is_described_alike_in_every_process():
    recipe = Recipe(schedule=partial(StepLR, step_size=2), learning_rate=0.5, stopping=Plateau())
    described = recipe.described()
    assert described["schedule"] == "StepLR(step_size=2)"
    assert not {"learning_rate", "stopping"} & described.keys()
    assert described == Recipe(schedule=partial(StepLR, step_size=2), stopping=Patience()).described()
    assert described != Recipe(schedule=partial(StepLR, step_size=3)).described()
    assert Recipe().described() == Recipe(recompute=4, memory_budget=0.5).described()  # no number moves
