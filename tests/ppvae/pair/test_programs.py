"""Programs in plain Pyro: SVI trains them, the global store stays empty, and they survive copying and pickling."""

import copy
import io
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from ppvae import BetaELBO, Program, record


def train(pair, steps: int = 30, rate: float = 1e-2) -> list[float]:
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": rate}), Trace_ELBO())
    return [svi.step(pair.images) for _ in range(steps)]


def state(pair) -> dict[str, torch.Tensor]:
    parts = {"model": pair.model, "guide": pair.guide}
    return {f"{part}.{name}": p.detach().clone() for part in parts for name, p in parts[part].named_parameters()}


def test_plain_svi_trains_every_parameter(pair):
    """The loss falls, each parameter moves, and the global store is empty at every step."""
    before, losses = state(pair), train(pair)
    assert sum(losses[-5:]) < sum(losses[:5]) - 5 * len(pair.images) * 0.5
    assert len(pyro.get_param_store()) == 0
    assert not [name for name, value in state(pair).items() if torch.equal(value, before[name])]


def test_two_pairs_of_one_class_share_nothing(pair_name, build):
    first, second = build(pair_name), build(pair_name)
    untouched = state(second)
    train(first, steps=3)
    assert all(torch.equal(value, untouched[name]) for name, value in state(second).items())
    trained = state(first)
    train(second, steps=3)
    assert all(torch.equal(value, trained[name]) for name, value in state(first).items())
    assert not all(torch.equal(value, untouched[name]) for name, value in state(second).items())


def test_parameters_appear_once_in_a_trace(pair):
    """As param sites that end in ``$$$name``, whose values are the parameters themselves."""
    for program in (pair.model, pair.guide):
        nodes = poutine.trace(program).get_trace(pair.images).nodes
        sites = {name.split("$$$")[-1]: node["value"] for name, node in nodes.items() if node["type"] == "param"}
        assert list(sites) == [name for name, _ in program.named_parameters()]
        assert all(sites[name] is parameter for name, parameter in program.named_parameters())
        assert len(sites) == sum(node["type"] == "param" for node in nodes.values())


def assert_same_program(first: nn.Module, second: nn.Module, images: torch.Tensor) -> None:
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    values = []
    for program in (first, second):
        torch.manual_seed(2)
        values.append(program(images))
    torch.testing.assert_close(*values)


def saved_and_loaded(program: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(program, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "duplicate",
    [lambda program: pickle.loads(pickle.dumps(program)), copy.deepcopy, saved_and_loaded],
    ids=["pickle", "deepcopy", "torch.save"],
)
def test_copies_after_training(pair_name, build, duplicate):
    """Copies draw the same, own their parameters, and train on; so does the original."""
    pair = build(pair_name)
    train(pair, steps=3)
    twin = copy.copy(pair)
    twin.model, twin.guide = duplicate(pair.model), duplicate(pair.guide)
    assert_same_program(pair.model, twin.model, pair.images)
    assert_same_program(pair.guide, twin.guide, pair.images)
    before = state(pair)
    train(twin, steps=3)
    assert all(torch.equal(value, before[name]) for name, value in state(pair).items())
    assert not all(torch.equal(value, before[name]) for name, value in state(twin).items())
    train(pair, steps=3)
    assert not all(torch.equal(value, before[name]) for name, value in state(pair).items())


@pytest.mark.parametrize("part", ["likelihood", "likelihood.decoder", "likelihood.decoder.layers.0"])
def test_parts_can_be_pickled_after_training(part, build):
    pair = build("normal")
    train(pair, steps=1)
    original = pair.model.get_submodule(part)
    loaded = pickle.loads(pickle.dumps(original))
    assert all(torch.equal(p, q) for p, q in zip(original.parameters(), loaded.parameters(), strict=True))


class Half(Program):
    """q of one latent out of several."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.loc = nn.Parameter(torch.zeros(()))

    def forward(self) -> torch.Tensor:
        return pyro.sample(self.name, dist.Normal(self.loc, 1.0))


def test_a_function_may_call_two_programs_of_one_class():
    halves = [Half("a"), Half("b")]

    def model() -> None:
        for name in "ab":
            pyro.sample(name, dist.Normal(3.0, 1.0))

    svi = SVI(model, lambda: [half() for half in halves], pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    for _ in range(20):
        svi.step()
    assert all(half.loc > 0.5 for half in halves)


def test_nested_programs_train():
    class Both(Program):
        def __init__(self) -> None:
            super().__init__()
            self.halves = nn.ModuleList([Half("a"), Half("b")])

        def forward(self) -> None:
            for half in self.halves:
                half()

    def model() -> None:
        for name in "ab":
            pyro.sample(name, dist.Normal(3.0, 1.0))

    guide = Both()
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
    for _ in range(20):
        svi.step()
    assert all(half.loc > 0.5 for half in guide.halves)


def test_programs_run_outside_pyro(pair):
    """Without any handler a program is its forward: nothing is declared, nothing is traced."""
    assert pair.guide(pair.images).shape == (16, 3)
    assert pair.model(pair.images) is pair.images
    assert not [p for p in pair.model.parameters() if hasattr(p, "unconstrained")]


def test_the_model_draws_images_without_any(pair):
    assert pair.model(size=5).shape == (5, 1, 6, 6)
    drawn = Predictive(pair.model, num_samples=4)(size=2)
    assert drawn["x"].shape == (4, 2, 1, 6, 6)
    assert drawn["z"].shape == (4, 2, 3)


def test_trace_mean_field_elbo_refuses_g_rep(build):
    pair = build("normal-gamma g-rep")
    with pyro.validation_enabled(True), pytest.raises(NotImplementedError, match="fully reparameterized"):
        TraceMeanField_ELBO().loss(pair.model, pair.guide, pair.images)
    BetaELBO()(pair.model, pair.guide, pair.images)


def test_recorded_sites_cost_nothing():
    """A recorded value is in the trace, with its dims, and adds nothing to any density."""
    value = torch.randn(5, 3)

    def guide() -> None:
        with pyro.plate("image", 5):
            record("p", value)

    site = poutine.trace(guide).get_trace().nodes["p"]
    assert site["value"] is value
    assert site["infer"]["event_dims"] == ["latent"]
    assert not site["fn"].log_prob(value).any()


@pytest.mark.parametrize("estimator", ["mean_field", "trace"])
def test_masked_images_count_for_nothing(estimator, build):
    """As in Pyro: under a mask on the images, only those kept enter −ELBO."""
    pair, mask = build("normal"), torch.arange(16) < 4
    elbo = BetaELBO(estimator=estimator)
    torch.manual_seed(1)
    expected = elbo.measure(pair.model, pair.guide, pair.images)
    torch.manual_seed(1)
    masked = elbo.measure(poutine.mask(pair.model, mask=mask), poutine.mask(pair.guide, mask=mask), pair.images)
    torch.testing.assert_close(masked.distortion, expected.distortion * mask)
    torch.testing.assert_close(masked.rate, expected.rate * mask)


@pytest.mark.parametrize("estimator", ["mean_field", "trace"])
def test_scaled_pairs_count_twice(estimator, build):
    pair = build("normal")
    elbo = BetaELBO(estimator=estimator)
    torch.manual_seed(1)
    expected = elbo(pair.model, pair.guide, pair.images)
    torch.manual_seed(1)
    scaled = elbo(poutine.scale(pair.model, 2.0), poutine.scale(pair.guide, 2.0), pair.images)
    torch.testing.assert_close(scaled, 2 * expected)
