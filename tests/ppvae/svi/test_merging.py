"""Merging in recorded graphs: what model and guide share runs once though sites draw and BatchNorm keeps statistics."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import BetaELBO, Program, fit
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

SHAPE, LATENTS = (1, 8, 8), 3


class Top(nn.Module):
    """Two convolutions, which prior and guide share, of a constant and an image's draw."""

    def __init__(self, norm: type[nn.Module] = nn.Identity, **options: object) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(1, 1, 4, 4))
        self.first, self.second = (nn.Conv2d(i, 4, 3, padding=1) for i in (1, 4))
        self.norms = nn.ModuleList(norm(4, **options) if norm is not nn.Identity else norm() for _ in range(2))

    def forward(self, draw_first, draw_second, count: int) -> torch.Tensor:
        features = self.norms[0](self.first(self.constant.expand(count, -1, -1, -1))).tanh()
        features = features + draw_first(features.mean((2, 3))[:, :LATENTS])[..., None, None].mean(1, keepdim=True)
        features = self.norms[1](self.second(features)).tanh()
        return draw_second(features.mean((2, 3))[:, :LATENTS])


class Shared(Program):
    """Draws z_1 and z_2 around what the shared network gives, shifted in the guide."""

    def __init__(self, top: Top) -> None:
        super().__init__()
        self.top = top

    def sites(self, count: int, shifts: tuple = (0.0, 0.0)) -> torch.Tensor:
        def site(number):
            infer = {"event_dims": [f"latent_{number}"]}
            return lambda loc: pyro.sample(
                f"z_{number}", dist.Normal(loc + shifts[number - 1], 1.0).to_event(1), infer=infer
            )

        return self.top(site(1), site(2), count)


class Model(Shared):
    def __init__(self, top: Top) -> None:
        super().__init__(top)
        self.likelihood = NormalLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[16]), scale=0.5)

    def forward(self, images):
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("x", self.likelihood(self.sites(len(images))), obs=images)


class Guide(Shared):
    def __init__(self, top: Top) -> None:
        super().__init__(top)
        self.encoder = MLPEncoder(SHAPE, hidden=[16])
        self.head = nn.Linear(self.encoder.features, 2 * LATENTS)

    def forward(self, images):
        with pyro.plate("image", len(images), dim=-1):
            self.sites(len(images), self.head(self.encoder(images)).chunk(2, -1))


def make_step(norm: type[nn.Module] = nn.Identity, **options: object) -> Step:
    torch.manual_seed(0)
    top = Top(norm, **options)
    return Step(Model(top), Guide(top), BetaELBO()).double().train()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


NONE = torch.tensor(())


def calls(graph_module, part: str) -> int:
    return sum(node.op == "call_function" and part in str(node.target) for node in graph_module.graph.nodes)


def trained(step: Step, run, images: torch.Tensor, steps: int = 4) -> dict[str, torch.Tensor]:
    """Parameters and buffers after so many steps of gradient descent, each on images of its own."""
    optimizer = torch.optim.SGD(step.parameters(), lr=1e-3)
    torch.manual_seed(3)
    for _ in range(steps):
        optimizer.zero_grad()
        run(torch.rand_like(images), NONE)[0].backward()
        optimizer.step()
    return step.state_dict()


@pytest.mark.parametrize("norm", [nn.Identity, nn.BatchNorm2d], ids=["plain", "BatchNorm"])
def test_each_convolution_of_a_network_shared_by_prior_and_guide_stands_once(norm, images):
    step = make_step(norm)
    graph = capture(step.eager, images, NONE, preserve=step)
    assert calls(graph, "conv2d") == 2
    assert calls(graph, "batch_norm") == (2 if norm is nn.BatchNorm2d else 0)
    assert calls(graph, "normal_") == 2  # one draw a site: the model's are the guide's


@pytest.mark.parametrize(
    ("norm", "options"),
    [
        (nn.BatchNorm2d, {}),
        (nn.BatchNorm2d, {"momentum": 0.7, "affine": False}),
        (nn.InstanceNorm2d, {"track_running_stats": True}),
        (nn.BatchNorm2d, {"track_running_stats": False}),
    ],
    ids=["BatchNorm", "another momentum", "InstanceNorm", "no statistics"],
)
def test_buffers_after_several_captured_steps_are_those_of_eager_ones(norm, options, images):
    """Two updates a step in eager; in float64, where one update of 1 − (1 − m)² is the same to rounding."""
    step = make_step(norm, **options)
    eager = copy.deepcopy(step)
    graph = capture(step.eager, images, NONE, preserve=step)
    assert calls(graph, "_norm.default") == 2
    ours, theirs = trained(step, graph, images), trained(eager, eager.eager, images)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-10, msg=name)
    if options.get("track_running_stats", True):
        assert not torch.equal(theirs["model.top.norms.0.running_mean"], torch.zeros(4))
    if norm is nn.BatchNorm2d and "track_running_stats" not in options:
        assert int(ours["model.top.norms.0.num_batches_tracked"]) == 8  # two a step


class Repeated(nn.Module):
    """One BatchNorm run on several inputs in turn."""

    def __init__(self, order: str, momentum: float = 0.3) -> None:
        super().__init__()
        self.order = order
        self.norm = nn.BatchNorm1d(3, momentum=momentum)
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = 0
        for letter in self.order:
            if letter == "?":
                self.seen.copy_(self.norm.running_mean)
            else:
                total = total + self.norm(x * (1 + ord(letter) - ord("a"))).exp().sum()
        return total


@pytest.mark.parametrize(("order", "left"), [("aa", 1), ("abab", 2), ("abcacba", 3), ("ab", 2), ("a?a", 2)])
@pytest.mark.parametrize("momentum", [0.3, 1.0, 0.0])
def test_statistics_of_merged_calls_end_where_those_of_all_calls_would(order, left, momentum):
    """In any order; a reader in between is a reason not to merge."""
    torch.manual_seed(0)
    module, x = Repeated(order, momentum).double().train(), torch.randn(8, 3, dtype=torch.float64) + 1
    eager = copy.deepcopy(module)
    graph = capture(module, x, preserve=module)
    assert calls(graph, "batch_norm") == left
    for _ in range(3):
        x = x + 1
        torch.testing.assert_close(graph(x), eager(x))
        for (name, ours), theirs in zip(module.named_buffers(), eager.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, msg=name)


class Unread(nn.Module):
    """A pass whose output nobody reads, as of a network that only the statistics need."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(3), nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.norm(x.square())
        return self.linear(x).sum()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_pass_whose_output_nobody_reads_updates_its_statistics(compiled):
    torch.manual_seed(0)
    module, x = Unread().train(), torch.randn(8, 3)
    graph = capture(module, x, preserve=module)
    run = torch.compile(graph, fullgraph=True, backend="aot_eager") if compiled else graph
    run(x)
    torch.testing.assert_close(module.norm.running_mean, 0.1 * x.square().mean(0))
    torch.testing.assert_close(module.norm.running_var, 0.9 + 0.1 * x.square().var(0))
    assert module.norm.num_batches_tracked == 1


def test_evaluation_mode_reads_its_statistics_and_merges():
    torch.manual_seed(0)
    norm, x = nn.BatchNorm1d(3).eval(), torch.randn(8, 3)
    graph = capture(lambda x: (norm(x) * norm(x)).sum(), x, preserve=norm)
    assert calls(graph, "batch_norm") == 1
    norm.running_mean.fill_(2.0)
    torch.testing.assert_close(graph(x), norm(x).square().sum())


def test_a_cumulative_mean_runs_eagerly_since_its_weight_is_a_number_of_the_step(images, caplog):
    """momentum=None: the statistics' weight is 1/n, read from a buffer, which no graph follows."""
    step = make_step(nn.BatchNorm2d, momentum=None)
    with caplog.at_level("WARNING", logger="ppvae"):
        step.prepare(images, NONE, execution="captured")
    assert step.execution == "eager"
    assert "reads the value of a tensor in Python" in caplog.text


def test_a_bias_that_a_normalisation_cancels_is_no_reason_to_refuse():
    """Its gradient is 0 up to rounding, so that no part of it is to be trusted."""
    torch.manual_seed(0)
    linear, norm, x = nn.Linear(3, 3), nn.BatchNorm1d(3), torch.randn(64, 3)
    module = nn.Sequential(linear, norm).train()

    def function(x):
        return (100 * module(x).exp()).sum() + (100 * module(x).exp()).mean()

    graph = capture(function, x, preserve=module)
    assert calls(graph, "batch_norm") == 1
    graph(x).backward()
    assert linear.bias.grad.abs().max() < 1e-4 * linear.weight.grad.abs().max()


def test_what_reads_a_view_before_and_after_a_write_is_not_merged():
    module, x = nn.Linear(4, 4), torch.ones(4)

    def function(x):
        y = module(x)
        row = y.clone().view(2, 2)
        before = row[0].exp().sum()
        row[1:].mul_(3)
        same = row[0].exp().sum()
        row.view(-1)[0] = 5.0
        return before + 2 * same + 3 * row[0].exp().sum() + row[1].exp().sum() * row[1].exp().sum()

    graph = capture(function, x, preserve=module)
    torch.testing.assert_close(graph(x), function(x))


def test_written_tensors_that_begin_alike_stay_apart():
    module, x = nn.Linear(4, 4), torch.ones(4)

    def function(x):
        one, other = torch.zeros(4), torch.zeros(4)
        one.add_(module(x))
        return (one - 2 * other).sum() + (torch.zeros(4) + torch.zeros(4) + x).sum()

    graph = capture(function, x, preserve=module)
    assert calls(graph, "zeros") == 2  # the written one and all others
    torch.testing.assert_close(graph(x), function(x))


def test_constants_made_alike_are_one():
    module, x = nn.Linear(4, 4), torch.ones(4)

    def function(x):
        return sum((module(x) * torch.tensor(2.0)).exp().sum() for _ in range(3)) * torch.tensor(2)

    graph = capture(function, x, preserve=module)
    assert calls(graph, "exp") == 1
    assert calls(graph, "lift_fresh") == 2  # 2.0 and 2
    torch.testing.assert_close(graph(x), function(x))


def test_a_training_of_captured_steps_has_the_statistics_of_an_eager_one():
    """Whole runs, in float64: Adam makes steps of the gradient's rounding where BatchNorm cancels a bias."""
    data = torch.rand(24, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    settings = {"epochs": 2, "batch_size": 6, "progress": False, "accelerator": "cpu"}
    ended = []
    for execution in ("eager", "captured"):
        step = make_step(nn.BatchNorm2d)
        history = fit(step.model, step.guide, data, execution=execution, **settings)
        assert history.execution == execution
        ended.append(dict(step.named_buffers()))
    for name, value in ended[0].items():
        torch.testing.assert_close(ended[1][name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_views_that_show_their_origin_again_are_dropped():
    """Broadcasting of equal shapes; one that spreads stays."""
    module, x = nn.Linear(4, 4), torch.ones(2, 4)

    def function(x):
        one, other = torch.broadcast_tensors(module(x), x)
        return (one.reshape(2, 4).expand(2, 4) * other).exp().sum() + module(x)[:1].expand(2, 4).exp().sum()

    graph = capture(function, x, preserve=module)
    assert calls(graph, "reshape") == 0
    assert calls(graph, "expand") == 1
    torch.testing.assert_close(graph(x), function(x))
