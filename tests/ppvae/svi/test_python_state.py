"""What Python changes between steps is never frozen: such a step runs eagerly, and the log says why."""

import random
from collections import deque
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, fit
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi.capture import capture
from ppvae.svi.python_state import PythonState, python_draws
from ppvae.svi.step import Step

SHAPE, LATENTS = (1, 8, 8), 3
NONE = torch.tensor(())
GENERATOR, CLOSED, COUNTER, WEIGHTS = np.random.default_rng(0), [1.0], count(), np.ones(3)


class Meddling:
    """Multiplies by ``factor()``, which Python changes; mixed into a program, a network, an objective."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight_now, self.calls, self.seen, self.setting = 1.0, 0, deque(), {"scale": 1.0}
        self.generator = random.Random(0)
        if isinstance(self, nn.Module):
            self.register_buffer("steps", torch.ones(()))

    def factor(self) -> float:
        return WAYS[self.way](self)


def schedule(self):
    self.weight_now *= 0.9995
    return self.weight_now


def every_tenth(self):
    self.calls += 1
    return 2.0 if self.calls % 10 == 0 else 1.0


def grown(self):
    self.seen.append(None)
    return 2.0 if len(self.seen) > 50 else 1.0


def inside_a_dictionary(self):
    self.setting["scale"] *= 0.9995
    return self.setting["scale"]


def closed_over(_self):
    CLOSED[0] *= 0.9995
    return CLOSED[0]


def an_array(_self):
    WEIGHTS[0] *= 0.9995
    return torch.from_numpy(WEIGHTS).sum().float() / 3


WAYS = {
    "schedule": schedule,
    "every tenth": every_tenth,
    "grown": grown,
    "inside a dictionary": inside_a_dictionary,
    "closed over": closed_over,
    "counted": lambda _: 1 + next(COUNTER) / 1000,
    "an array": an_array,
    "random": lambda _: 2.0 if random.random() < 0.1 else 1.0,
    "random of its own": lambda self: 2.0 if self.generator.random() < 0.1 else 1.0,
    "numpy": lambda _: 2.0 if np.random.rand() < 0.1 else 1.0,  # noqa: NPY002 - what users write
    "numpy's generator": lambda _: 2.0 if GENERATOR.random() < 0.1 else 1.0,
    "numpy's new generator": lambda _: 2.0 if np.random.default_rng().uniform() < 0.1 else 1.0,
    "torch": lambda _: 2.0 if torch.rand(()).item() < 0.1 else 1.0,
    "torch's truth": lambda _: 2.0 if torch.rand(()) < 0.1 else 1.0,
    "torch as a list": lambda _: 2.0 if torch.rand(2).tolist()[0] < 0.1 else 1.0,
    "torch as an array": lambda _: 2.0 if torch.rand(2).numpy()[0] < 0.1 else 1.0,
}
SAID = {
    "schedule": "weight_now changes in a step, from",
    "every tenth": "calls changes in a step, from",
    "grown": "seen changes in a step, from length 1 to length 2",
    "inside a dictionary": "setting['scale'] changes in a step",
    "closed over": "in Python changes from one step to the next",
    "counted": "in Python changes from one step to the next",
    "an array": "in Python changes from one step to the next",
    "random": "draws random numbers by Random.random",
    "random of its own": "draws random numbers by Random.random",
    "numpy": "draws random numbers by",
    "numpy's generator": "draws random numbers by",
    "numpy's new generator": "draws random numbers by",
}


class MeddlingModel(Meddling, VAE):
    def forward(self, images):
        return super().forward(images * self.factor())


class MeddlingGuide(Meddling, MeanFieldNormal):
    def forward(self, images):
        return super().forward(images * self.factor())


class MeddlingLikelihood(Meddling, NormalLikelihood):
    def forward(self, z):
        return super().forward(z * self.factor())


class MeddlingObjective(Meddling, BetaELBO):
    def loss(self, terms, numbers, warmth=1.0):
        return self.factor() * super().loss(terms, numbers, warmth)


def make_step(where: str, way: str) -> Step:
    torch.manual_seed(0)
    make = {"model": VAE, "guide": MeanFieldNormal, "likelihood": NormalLikelihood, "objective": BetaELBO}
    meddling = {
        "model": MeddlingModel,
        "guide": MeddlingGuide,
        "likelihood": MeddlingLikelihood,
        "objective": MeddlingObjective,
    }
    make[where] = type(where, (meddling[where],), {"way": way})
    likelihood = make["likelihood"](MLPDecoder(LATENTS, SHAPE, hidden=[16]), scale=0.5)
    guide = make["guide"](MLPEncoder(SHAPE, hidden=[16]), LATENTS)
    return Step(make["model"](NormalPrior(LATENTS), likelihood), guide, make["objective"]()).train()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))


PLACES = ("model", "guide", "likelihood", "objective")


@pytest.mark.parametrize(
    ("where", "way"),
    [
        pytest.param(where, way, marks=() if number % 4 == place else pytest.mark.long)
        for number, way in enumerate(WAYS)
        for place, where in enumerate(PLACES)
    ],
)
def test_what_python_changes_runs_eagerly_and_the_log_says_why(where, way, images, caplog):
    step = make_step(where, way)
    with caplog.at_level("WARNING", logger="ppvae"):
        step.prepare(images, NONE, execution="captured")
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("ppvae")]
    assert "training runs eagerly: " in line
    assert SAID.get(way, "it reads the value of a tensor in Python") in line
    assert "\n" not in line
    assert step.execution == "eager"


@pytest.mark.parametrize("where", PLACES)
def test_rehearsals_leave_python_as_it_was(where, images):
    step = make_step(where, "schedule")
    meddler = {"likelihood": step.model.likelihood}.get(where) or getattr(step, where)
    for way in ("schedule", "every tenth", "grown", "inside a dictionary", "random of its own"):
        type(meddler).way = way
        step.prepare(images, NONE, execution="captured")
    assert (meddler.weight_now, meddler.calls, meddler.setting, len(meddler.seen)) == (1.0, 0, {"scale": 1.0}, 0)
    assert meddler.generator.random() == random.Random(0).random()


def test_rehearsals_leave_the_global_random_states(images):
    step = make_step("model", "random")
    python, numbers = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global state
    for way in ("random", "numpy"):
        type(step.model).way = way
        step.prepare(images, NONE, execution="captured")
    assert random.getstate() == python
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002


class Numbered(BetaELBO):
    """Writes down the step's number where it makes its loss of it."""

    now = 0.0

    def numbers(self, step):
        self.now = float(step)
        return ()

    def loss(self, terms, numbers, warmth=1.0):
        return super().loss(terms, numbers, warmth) * (1 + self.now)


class Ignored(Numbered):
    def loss(self, terms, numbers, warmth=1.0):
        return BetaELBO.loss(self, terms, numbers, warmth)


@pytest.mark.parametrize(("objective", "execution"), [(Numbered(), "eager"), (Ignored(), "captured")])
def test_a_number_that_an_objective_keeps_of_the_step_is_found(objective, execution, images):
    step = make_step("model", "schedule")
    step = Step(VAE(step.model.prior, step.model.likelihood), step.guide, objective).train()
    objective.numbers(0)
    step.prepare(images, NONE, execution="captured")
    assert step.execution == execution
    assert objective.now == 0


class Rebinding(nn.Module):
    """A running mean that is a new tensor at each step, as a buffer or as a plain attribute."""

    def __init__(self, buffer: bool) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        if buffer:
            self.register_buffer("mean", torch.zeros(3))
        else:
            self.mean = torch.zeros(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean = (0.9 * self.mean + 0.1 * x).detach()
        return (self.w * self.mean).sum()


@pytest.mark.parametrize("buffer", [True, False])
def test_a_tensor_that_is_made_anew_at_each_step_is_not_frozen(buffer):
    module = Rebinding(buffer)
    mean = module.mean
    with pytest.raises(RuntimeError, match="from one step to the next"):
        capture(module, torch.ones(3), preserve=module)
    assert module.mean is mean
    assert not mean.any()


class Cached(nn.Module):
    """Makes a mask when it first needs one, and keeps what it computed last for whoever looks."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.mask = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mask is None:
            self.mask = torch.tensor([1.0, 0.0, 1.0])
        self.last = self.w * x * self.mask
        return self.last.sum()


def test_a_cache_is_no_change():
    module, x = Cached(), torch.ones(3)
    module(x)
    graph = capture(module, x, preserve=module)
    assert graph(x) == 2
    assert module.mask.dtype == torch.float32  # whatever was compared in float64


@pytest.mark.parametrize("read", [lambda t: t.item(), float, lambda t: t.tolist(), lambda t: float(t.detach().numpy())])
def test_a_branch_on_a_buffer_is_not_frozen(read):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(3))
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x):
            weight = 2.0 if read(self.steps + torch.tensor(1.0)) > 100 else 1.0
            self.steps.add_(1)
            return weight * (self.w * x).sum()

    module = Counting()
    with pytest.raises(RuntimeError, match="reads the value of a tensor"):
        capture(module, torch.ones(3), preserve=module)


def test_numbers_of_a_tensor_made_in_the_step_may_be_read():
    module, x = nn.Linear(3, 1), torch.ones(3)
    graph = capture(lambda x: module(x).sum() * float(torch.tensor(3.0)), x, preserve=module)
    torch.testing.assert_close(graph(x), 3 * module(x).sum())


def test_a_scale_that_falls_at_each_step_ends_where_it_ends_eagerly(images):
    """20 epochs, compiled by default: the history says that it ran eagerly, and rehearsals counted for nothing."""
    losses = []
    for compiled in (True, False):
        step = make_step("likelihood", "schedule")
        history = fit(
            step.model, step.guide, images, epochs=20, batch_size=6, compile=compiled, progress=False, accelerator="cpu"
        )
        assert history.execution == "eager"
        losses.append(history.loss.values)
    np.testing.assert_array_equal(*losses)


def test_the_state_of_a_module_names_what_it_holds():
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].options = {"a": [1, 2]}
    before = PythonState(module)
    assert before.changed(PythonState(module)) is None
    module[0].options["a"][1] = 3
    after = PythonState(module)
    assert before.changed(after) == "0.options['a'][1] changes in a step, from 2 to 3"
    before.restore()
    assert module[0].options == {"a": [1, 2]}


def test_draws_of_python_are_seen_wherever_they_are():
    with python_draws() as draws:
        torch.rand(3)
        np.ones(3).sum()
    assert not draws
    with python_draws() as draws:
        [random.gauss(0, 1) for _ in range(2)]
        np.random.default_rng(0).normal()
    assert len(draws) >= 2
