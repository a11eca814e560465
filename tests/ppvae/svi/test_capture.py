"""Capture: the graph's loss and gradients are those of eager Pyro, and what must stay impure stays so."""

import logging

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, Annealed, BetaELBO, Capacity
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior
from ppvae.svi.capture import capture
from ppvae.svi.compilation import compile_graph
from ppvae.svi.step import Step

SHAPE, LATENTS = (1, 8, 8), 3
WEIGHT = torch.tensor(1.0)


def make_pair(kind: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    prior = NormalPrior(LATENTS) if kind == "normal" else NormalGammaPrior(LATENTS)
    model = VAE(prior, NormalLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[16]), scale=0.1))
    encoder = MLPEncoder(SHAPE, hidden=[16])
    if kind == "normal":
        return model, MeanFieldNormal(encoder, LATENTS)
    return model, NormalGammaGuide(encoder, LATENTS, estimator=kind)


def make_step(kind: str = "normal", estimator: str = "mean_field", beta: float = 1.0) -> Step:
    return Step(*make_pair(kind), BetaELBO(beta=beta, estimator=estimator))


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))


def loss_and_gradients(run, module, seed, *inputs):
    """Loss and the gradient of each parameter by name, under one seed."""
    torch.manual_seed(seed)
    loss = run(*inputs)
    loss = loss[0] if isinstance(loss, tuple) else loss
    names, parameters = zip(*module.named_parameters(), strict=True)
    return loss.detach(), dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))


def assert_same(first, second, rtol=1e-6, atol=1e-7):
    torch.testing.assert_close(first[0], second[0], rtol=rtol, atol=atol)
    for name, gradient in first[1].items():
        other = second[1][name]
        assert (gradient is None) == (other is None), name
        if gradient is not None:
            scale = float(gradient.abs().max()) + 1e-30
            torch.testing.assert_close(other / scale, gradient / scale, rtol=rtol, atol=atol, msg=name)


def said(caplog) -> list[str]:
    """What ppvae itself logged."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("ppvae")]


def calls(graph_module, part: str) -> int:
    """How many calls of the graph have ``part`` in their operator's name."""
    return sum(node.op == "call_function" and part in str(node.target) for node in graph_module.graph.nodes)


class Weights(nn.Module):
    """A module with one parameter, for functions written by hand."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(0.5, 2, size))


@pytest.mark.parametrize("estimator", ["mean_field", "trace"])
@pytest.mark.parametrize("kind", ["normal", "implicit", "g-rep"])
def test_captured_loss_and_gradients_are_those_of_eager_pyro(kind, estimator, pixels):
    """In float64: merging reorders the sums of gradients, and G-REP's are ill-conditioned."""
    step, pixels = make_step(kind, estimator).double(), pixels.double()
    graph = capture(step.eager, pixels, WEIGHT, preserve=step)
    losses = []
    for seed in range(4):
        eager = loss_and_gradients(step.eager, step, seed, pixels, WEIGHT)
        captured = loss_and_gradients(graph, step, seed, pixels, WEIGHT)
        assert_same(eager, captured)
        assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in eager[1].values())
        losses.append(float(captured[0]))
    assert len(set(losses)) == len(losses)  # random draws stay random


@pytest.mark.parametrize("kind", ["normal", "g-rep"])
def test_captured_measurements_are_those_of_eager_pyro(kind, pixels):
    step = make_step(kind)
    graph = capture(step.eager, pixels, WEIGHT, preserve=step)
    torch.manual_seed(3)
    eager = step.eager(pixels, WEIGHT)[1]
    torch.manual_seed(3)
    torch.testing.assert_close(graph(pixels, WEIGHT)[1], eager, rtol=1e-6, atol=1e-6)


def test_captured_graph_takes_new_images_and_trained_parameters(pixels):
    step, pixels = make_step("implicit").double(), pixels.double()
    graph = capture(step.eager, pixels, WEIGHT, preserve=step)
    optimizer = torch.optim.Adam(step.parameters(), lr=0.05)
    for seed in range(3):
        other = torch.rand_like(pixels, generator=torch.Generator().manual_seed(10 + seed))
        eager = loss_and_gradients(step.eager, step, seed, other, WEIGHT)
        captured = loss_and_gradients(graph, step, seed, other, WEIGHT)
        assert_same(eager, captured)
        for name, parameter in step.named_parameters():
            parameter.grad = captured[1][name]
        optimizer.step()


def test_uint8_pixels_are_scaled_inside_the_graph(pixels):
    step, stored = make_step(), (pixels * 255).round().to(torch.uint8)
    graph = capture(step.eager, stored, WEIGHT, preserve=step)
    eager = loss_and_gradients(step.eager, step, 0, stored.float() / 255, WEIGHT)
    assert_same(eager, loss_and_gradients(graph, step, 0, stored, WEIGHT))


def test_changing_numbers_are_inputs_of_the_graph(pixels):
    """The weight of annealing, and the capacity inside it."""
    step = Step(*make_pair("normal"), Annealed(objective=Capacity(gamma=2.0)))
    graph = capture(step.eager, pixels, torch.tensor([0.5, 1.0]), preserve=step)
    losses = {}
    for numbers in ((0.0, 5.0), (1.0, 0.0), (0.25, 0.0), (1.0, 100.0)):
        eager = loss_and_gradients(step.eager, step, 0, pixels, torch.tensor(numbers))
        captured = loss_and_gradients(graph, step, 0, pixels, torch.tensor(numbers))
        assert_same(eager, captured)
        losses[numbers] = float(captured[0])
    torch.manual_seed(0)
    rate = float(step.objective.measure(step.model, step.guide, pixels).rate.detach().mean())
    assert 0 < rate < 100
    distortion = losses[0.0, 5.0]
    assert losses[1.0, 0.0] - distortion == pytest.approx(2 * rate, rel=1e-4)
    assert losses[0.25, 0.0] - distortion == pytest.approx(rate / 2, rel=1e-4)
    assert losses[1.0, 100.0] - distortion == pytest.approx(2 * (100 - rate), rel=1e-4)


def test_detach_and_no_grad_keep_their_meaning():
    module, x = Weights(), torch.tensor([1.0, -2.0, 3.0, 0.5])

    def function(x):
        with torch.no_grad():
            constant = module.w.exp()
            both = constant * module.w
        graded = module.w.exp()  # the expression of the region without gradients, with gradients
        with torch.no_grad(), torch.enable_grad():
            nested = (module.w * x).square()
        return (
            (graded * constant).sum() + (both * module.w).sum() + (x * module.w.detach() * module.w).sum() + nested[0]
        )

    graph = capture(function, x, preserve=module)
    eager = loss_and_gradients(function, module, 0, x)
    assert_same(eager, loss_and_gradients(graph, module, 0, x))
    naive = 2 * module.w.detach() * (x + 1)
    assert not torch.allclose(eager[1]["w"], naive)


def test_values_that_leave_no_grad_carry_none():
    module, x = Weights(), torch.ones(4)

    def function(x):
        with torch.no_grad():
            return (module.w * x).sum(), module.w.var()

    graph = capture(function, x, preserve=module)
    assert not any(value.requires_grad for value in graph(x))


def test_repeated_subexpressions_are_computed_once():
    module, x = Weights(), torch.ones(4)

    def once(x):
        return (module.w * x).exp().sum()

    graph = capture(lambda x: once(x) + 2 * once(x) + once(x).square(), x, preserve=module)
    assert calls(graph, "aten.exp") == 1
    assert sum(node.op == "get_attr" for node in graph.graph.nodes) == 1
    eager = loss_and_gradients(lambda x: once(x) + 2 * once(x) + once(x).square(), module, 0, x)
    assert_same(eager, loss_and_gradients(graph, module, 0, x))


def test_a_network_shared_by_model_and_guide_runs_once(pixels):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 1))
    graph = capture(lambda x: (network(x) * network(x).detach()).sum(), pixels, preserve=network)
    assert calls(graph, "aten.linear") == 2
    eager = loss_and_gradients(lambda x: (network(x) * network(x).detach()).sum(), network, 0, pixels)
    assert_same(eager, loss_and_gradients(graph, network, 0, pixels))


def test_numbers_of_different_type_are_not_merged():
    module, x = Weights(), torch.arange(4)

    def function(x):
        return (x * 2).sum() + (x * 2.0).sum().div(3) + module.w.sum()

    graph = capture(function, x, preserve=module)
    assert_same(loss_and_gradients(function, module, 0, x), loss_and_gradients(graph, module, 0, x))
    assert calls(graph, "aten.mul") == 2


DRAWS = {
    "normal": lambda w: dist.Normal(w, w).rsample(),
    "gamma": lambda w: dist.Gamma(w, w).rsample(),
    "laplace": lambda w: dist.Laplace(w, w).rsample(),
    "student": lambda w: dist.StudentT(w + 1, w, w).rsample(),
    "log_normal": lambda w: dist.LogNormal(w, w).rsample(),
    "bernoulli": lambda w: dist.Bernoulli(w / 4).sample() * w,
    "categorical": lambda w: dist.OneHotCategorical(w / w.sum()).sample() * w,
    "poisson": lambda w: dist.Poisson(w).sample() * w,
    "dropout": lambda w: nn.functional.dropout(w, 0.5),
    "randn": lambda w: torch.randn_like(w) * w,
    "uniform": lambda w: dist.Uniform(w, w + 1).rsample(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_two_draws_from_one_distribution_stay_two_draws(name):
    module, draw = Weights(32), DRAWS[name]

    def function(x):
        first, second = draw(module.w), draw(module.w)
        return (x * first).sum() - 3 * (x * second).sum(), first, second

    x = torch.linspace(1, 2, 32)
    graph = capture(function, x, preserve=module)
    assert_same(loss_and_gradients(function, module, 5, x), loss_and_gradients(graph, module, 5, x))
    _, first, second = graph(x)
    assert not torch.equal(first, second)


def test_unused_draws_still_advance_the_stream():
    module, x = Weights(), torch.ones(4)

    def function(x):
        torch.rand(7)
        dist.Normal(x, 1.0).sample()
        return (module.w * torch.randn(4)).sum()

    graph = capture(function, x, preserve=module)
    assert_same(loss_and_gradients(function, module, 5, x), loss_and_gradients(graph, module, 5, x))


POSTERIORS = {
    "beta": lambda a: dist.Beta(a.exp(), 1 + a.exp()),
    "dirichlet": lambda a: dist.Dirichlet(a.exp()),
    "straight-through": lambda a: dist.RelaxedBernoulliStraightThrough(torch.tensor(0.5), logits=a),
}


@pytest.mark.parametrize("name", POSTERIORS)
def test_draws_with_a_backward_of_their_own_keep_it(name, pixels, caplog):
    """torch.autograd.Function does not survive capture: such a pair must train with eager's gradients all the same."""

    class Guide(MeanFieldNormal):
        def posterior(self, images):
            posterior = POSTERIORS[name](self.loc(self.encoder(images)))
            return posterior.to_event(1 - posterior.event_dim)

    class Prior(nn.Module):
        latents = LATENTS

        def forward(self):
            flat = dist.Uniform(0.0, 1.0).expand([LATENTS]).to_event(1)
            simplex = dist.Dirichlet(torch.ones(LATENTS))
            binary = dist.Bernoulli(0.5).expand([LATENTS]).to_event(1)
            prior = {"beta": flat, "dirichlet": simplex, "straight-through": binary}[name]
            return pyro.sample("z", prior, infer={"event_dims": ["latent"]})

    torch.manual_seed(0)
    model = VAE(Prior(), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[16]), scale=0.3))
    step = Step(model, Guide(MLPEncoder(SHAPE, hidden=[16]), LATENTS), BetaELBO(estimator="trace"))
    with caplog.at_level(logging.WARNING, logger="ppvae"):
        step.prepare(pixels, WEIGHT)
    eager = loss_and_gradients(step.eager, step, 5, pixels, WEIGHT)
    assert eager[1]["guide.loc.weight"].abs().sum() > 0
    assert_same(eager, loss_and_gradients(step.run, step, 5, pixels, WEIGHT))
    assert [line for line in said(caplog) if "eager" not in line] == []


class Normalised(nn.Module):
    """BatchNorm used twice a call, as by a network that model and guide share."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(self.norm(x)).tanh()


@pytest.mark.parametrize("passes", [1, 2])
def test_running_statistics_are_updated_once_a_pass_and_not_by_capture(passes):
    torch.manual_seed(0)
    module, x = Normalised().train(), torch.randn(16, 3)

    def function(x):
        return sum(module(x).square().sum() for _ in range(passes))

    before = {name: value.clone() for name, value in module.state_dict().items()}
    graph = capture(function, x, preserve=module)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert calls(graph, "batch_norm") == 1
    eager_gradients = loss_and_gradients(function, module, 0, x)
    eager = {name: value.clone() for name, value in module.named_buffers()}
    module.load_state_dict(before)
    assert_same(eager_gradients, loss_and_gradients(graph, module, 0, x))
    for name, value in module.named_buffers():
        torch.testing.assert_close(value, eager[name], rtol=1e-6, atol=0)
    assert int(module.norm.num_batches_tracked) == passes
    mean = x.mean(0) * (1 - 0.9**passes)
    torch.testing.assert_close(module.norm.running_mean, mean, rtol=1e-5, atol=1e-6)


def test_in_place_operations_are_not_merged_away():
    module, x = Weights(), torch.ones(4)

    def function(x):
        y = module.w * x
        first = y.exp().sum()
        y = y.clone()
        y.add_(1)
        return first + y.exp().sum() + y.mul_(2).exp().sum()

    graph = capture(function, x, preserve=module)
    assert_same(loss_and_gradients(function, module, 0, x), loss_and_gradients(graph, module, 0, x))


def test_a_buffer_read_before_and_after_its_update_is_two_values():
    class Counter(Weights):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.ones(()))

        def forward(self, x):
            before = self.seen * 2
            self.seen.add_(1)
            return (self.w * x).sum() * (before - 3 * (self.seen * 2))

    module, x = Counter(), torch.ones(4)
    graph = capture(module, x, preserve=module)
    assert module.seen == 1
    eager = loss_and_gradients(module, module, 0, x)
    module.seen.fill_(1)
    assert_same(eager, loss_and_gradients(graph, module, 0, x))
    assert module.seen == 2


def test_capture_leaves_random_state_parameters_and_validation(pixels):
    step = make_step("g-rep")
    torch.manual_seed(7)
    state, values = torch.get_rng_state(), {k: v.clone() for k, v in step.state_dict().items()}
    validation = pyro.settings.get()
    capture(step.eager, pixels, WEIGHT, preserve=step)
    step.prepare(pixels, WEIGHT, execution="eager")
    assert torch.equal(torch.get_rng_state(), state)
    assert pyro.settings.get() == validation
    assert all(torch.equal(values[name], value) for name, value in step.state_dict().items())
    assert all(parameter.grad is None for parameter in step.parameters())


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_the_compiled_step_gives_eager_losses_and_gradients(backend, pixels, caplog, monkeypatch):
    """Through the whole compiler, which writes C++, and through its part that traces forwards and backwards."""
    if backend == "aot_eager":
        full = torch.compile
        monkeypatch.setattr(
            torch, "compile", lambda graph, **given: full(graph, backend=backend, **given | {"options": None})
        )
    step = make_step("normal")
    torch.manual_seed(7)
    state = torch.get_rng_state()
    # Inductor's own random numbers differ from ATen's under one seed; with ATen's the step must agree with eager's.
    with torch._inductor.config.patch(fallback_random=True), caplog.at_level(logging.WARNING, logger="ppvae"):
        step.prepare(pixels, WEIGHT, execution="compiled")
        assert torch.equal(torch.get_rng_state(), state)
        assert isinstance(step.run, torch._dynamo.OptimizedModule)
        for seed in range(2):
            eager = loss_and_gradients(step.eager, step, seed, pixels, WEIGHT)
            assert_same(eager, loss_and_gradients(step.run, step, seed, pixels, WEIGHT), rtol=1e-5, atol=1e-5)
    assert not said(caplog)


def failing(*_args, **_kwargs):
    raise RuntimeError("no compiler on this machine\nand a long explanation")


def test_a_failing_compile_falls_back_to_the_graph_and_says_why(pixels, monkeypatch, caplog):
    step = make_step()
    monkeypatch.setattr(torch, "compile", failing)
    graph = capture(step.eager, pixels, WEIGHT, preserve=step)
    with caplog.at_level(logging.WARNING, logger="ppvae"):
        assert compile_graph(graph, pixels, WEIGHT, preserve=step) is None
    assert [message.count("no compiler on this machine") for message in said(caplog)] == [1]
    assert "\n" not in said(caplog)[0]


def test_a_pair_that_cannot_be_captured_trains_eagerly_and_says_why(pixels, monkeypatch, caplog):
    step = make_step()
    monkeypatch.setattr("ppvae.svi.step.capture", failing)
    with caplog.at_level(logging.WARNING, logger="ppvae"):
        step.prepare(pixels, WEIGHT)
    assert step.run == step.eager
    assert ["no compiler on this machine" in message for message in said(caplog)] == [True]


class ReadsValues(nn.Module):
    """Batch normalisation, then a branch on a value: no graph can hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.image_shape, self.features = SHAPE, 8
        self.norm = nn.BatchNorm2d(1)
        self.linear = nn.Linear(64, 8)

    def forward(self, images):
        features = self.linear(self.norm(images).flatten(1))
        return features if features.sum().item() > 0 else 2 * features


def test_a_failed_capture_leaves_buffers_and_random_state(pixels, caplog):
    model, _ = make_pair("normal")
    step = Step(model, MeanFieldNormal(ReadsValues(), LATENTS), BetaELBO()).train()
    before = {name: value.clone() for name, value in step.named_buffers()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    with caplog.at_level(logging.WARNING, logger="ppvae"):
        step.prepare(pixels, WEIGHT)
    assert step.run == step.eager
    assert len(said(caplog)) == 1
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in step.named_buffers():
        assert torch.equal(value, before[name]), name


def test_a_conversion_that_changes_nothing_keeps_its_gradient():
    """Under ``no_grad``, ``x.to(x.dtype)`` is x itself: what uses x afterwards still has its gradient."""
    module, x = Weights(), torch.tensor([1.0, -2.0, 3.0, 0.5])

    def function(inputs):
        product = module.w * inputs
        with torch.no_grad():
            factor = product.to(product.dtype).abs().sum() + product.to(torch.float64).sum().float()
        return (factor * product.square()).sum()

    graph = capture(function, x, preserve=module)
    assert_same(loss_and_gradients(function, module, 0, x), loss_and_gradients(graph, module, 0, x))


class Averaged(Weights):
    """Keeps the mean of what it computes, as layers with running statistics do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        product = self.w * inputs
        with torch.no_grad():
            self.mean.lerp_(product.mean(), 0.5)
        return product.square().sum()


def test_a_buffer_written_without_gradients_stays_out_of_them():
    """Eager keeps the buffer out of the graph; so do three captured steps, one after the other."""
    eager, captured, x = Averaged(), Averaged(), torch.tensor([1.0, -2.0, 3.0, 0.5])
    graph = capture(captured.forward, x, preserve=captured)
    for _ in range(3):
        assert_same(loss_and_gradients(eager, eager, 0, x), loss_and_gradients(graph, captured, 0, x))
        torch.testing.assert_close(captured.mean, eager.mean)
        assert not captured.mean.requires_grad
    assert captured.mean != 0


def test_what_is_read_before_and_after_a_write_is_not_one_value():
    module, x = Averaged(), torch.tensor([1.0, -2.0, 3.0, 0.5])

    def function(inputs):
        before = module.mean.clone()
        loss = module(inputs)
        return loss, torch.stack([before, module.mean.clone()])

    graph = capture(function, x, preserve=module)
    for _ in range(2):
        start = float(module.mean)
        _, (before, after) = graph(x)
        assert float(before) == start
        assert float(after) == float(module.mean) != start
