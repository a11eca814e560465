"""Recomputed steps: the same loss, gradients, noise and buffers as the captured step's, from fewer bytes kept."""

import functools
import itertools
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from experiments.benchmarks.hierarchies import HierarchySetup
from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, BetaELBO, fit
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior
from ppvae.svi import Recipe
from ppvae.svi.agreement import rehearsed
from ppvae.svi.capture import capture
from ppvae.svi.cuts import Costs, best_cuts
from ppvae.svi.enlargement import Recorded
from ppvae.svi.segments import Segmented, segmented
from ppvae.svi.step import Step

HIERARCHY = HierarchySetup(sides=(2, 4), image_shape=(1, 8, 8), batch_size=6, width=4, latents=2)
NONE = torch.tensor(())


def make_pair(kind: str) -> tuple[nn.Module, nn.Module]:
    if kind == "hierarchy":
        return HIERARCHY.pair()
    torch.manual_seed(0)
    if kind == "conv":
        shape = (1, 16, 16)
        model = VAE(NormalPrior(3), NormalLikelihood(ConvDecoder(3, shape, (4, 4)), scale=0.3))
        return model, MeanFieldNormal(ConvEncoder(shape, (4, 4)), 3)
    model = VAE(NormalGammaPrior(3), NormalLikelihood(MLPDecoder(3, (1, 8, 8), hidden=[16]), scale=0.3))
    return model, NormalGammaGuide(MLPEncoder((1, 8, 8), hidden=[16]), 3, estimator=kind)


def images_of(kind: str) -> torch.Tensor:
    side = 16 if kind == "conv" else 8
    return torch.rand(6, 1, side, side, generator=torch.Generator().manual_seed(1))


@functools.cache
def captured(kind: str):
    """A step in double precision, its images, its graph; captured once for all tests."""
    step, images = Step(*make_pair(kind), BetaELBO()).double().train(), images_of(kind).double()
    return step, images, capture(step.eager, images, NONE, preserve=step)


def cut(kind: str, segments: int) -> Segmented:
    step, images, graph = captured(kind)
    return segmented(Recorded(graph, graph, (images, NONE)), segments, preserve=step)


def assert_same(first, second) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "segments"),
    [
        *(("hierarchy", 4), ("conv", 2), ("conv", 9), ("g-rep", 3)),
        *(pytest.param(*one, marks=pytest.mark.long) for one in (("hierarchy", 2), ("hierarchy", 9), ("conv", 4))),
    ],
)
def test_loss_gradients_and_buffers_are_those_of_the_captured_step(kind, segments):
    step, images, graph = captured(kind)
    pieces = cut(kind, segments)
    assert len(pieces.pieces) > 1
    for first, second in zip(*(rehearsed(run, images, NONE, preserve=step) for run in (graph, pieces)), strict=True):
        assert_same(first, second)


def trained(run, step: Step, images: torch.Tensor, steps: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Losses, then parameters and buffers, of some steps of gradient descent; the step is put back."""
    before = {name: value.clone() for name, value in step.state_dict().items()}
    optimizer = torch.optim.SGD(step.parameters(), lr=1e-4)
    losses = []
    for number in range(steps):
        torch.manual_seed(number)
        optimizer.zero_grad()
        loss = run(images, NONE)[0]
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    after = [value.clone() for value in step.state_dict().values()]
    step.load_state_dict(before)
    return losses, after


@pytest.mark.parametrize("kind", ["hierarchy", "conv"])
def test_two_steps_end_where_two_captured_ones_do(kind):
    step, images, graph = captured(kind)
    plain, again = (trained(run, step, images, 2) for run in (graph, cut(kind, 5)))
    assert_same(plain[0], again[0])
    assert_same(plain[1], again[1])
    assert plain[0][0] != plain[0][1]


def test_running_statistics_are_updated_once_a_step_and_not_by_the_backward_pass():
    step, images, graph = captured("hierarchy")
    counts = [value for name, value in step.named_buffers() if name.endswith("num_batches_tracked")]
    before = [int(count) for count in counts]
    trained(graph, step, images, 1)
    torch.manual_seed(0)
    loss = cut("hierarchy", 5)(images, NONE)[0]
    buffers = [value.clone() for value in step.buffers()]
    grown = [int(count) - old for count, old in zip(counts, before, strict=True)]
    loss.backward()
    assert set(grown) == {1, 2}  # the shared network is passed by guide and model
    assert all(torch.equal(*pair) for pair in zip(buffers, step.buffers(), strict=True))
    step.zero_grad()


def kept_bytes(run, step: Step, *inputs: torch.Tensor) -> int:
    """What autograd keeps of a step between its passes: each storage once, parameters, buffers and images left out."""
    known = {one.untyped_storage()._cdata for one in (*step.parameters(), *step.buffers(), *inputs)}
    seen: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss = run(*inputs)[0]
    return sum(storage.nbytes() for key, storage in seen.items() if key not in known)


def test_less_is_kept_the_more_segments_there_are():
    step, images, graph = captured("hierarchy")
    plain, two, five = (
        kept_bytes(run, step, images, NONE) for run in (graph, cut("hierarchy", 2), cut("hierarchy", 5))
    )
    assert two < 0.7 * plain
    assert five < 0.4 * plain


def test_a_gradient_may_be_taken_twice():
    step, images, _ = captured("hierarchy")
    parameters = list(step.parameters())
    loss = cut("hierarchy", 4)(images, NONE)[0]
    first, second = (torch.autograd.grad(loss, parameters, retain_graph=True) for _ in range(2))
    assert_same(first, second)


class Chain(nn.Module):
    """Noisy layers that read what they write: ``seen`` counts, ``last`` is overwritten, later layers read both."""

    def __init__(self, layers: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(layers))
        self.register_buffer("seen", torch.ones(()))
        self.register_buffer("last", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            self.seen.add_(1)
            x = torch.tanh(layer(x) + 0.1 * torch.randn_like(x)) / self.seen.clone() + 0.1 * self.last
            self.last.copy_(x.detach().mean(0))
            noise = torch.empty_like(x).uniform_()
            x = torch.nn.functional.dropout(x * noise.exp_(), 0.3)
        return x.square().sum()


def test_what_a_step_writes_and_reads_is_as_it_was_when_it_runs_again():
    torch.manual_seed(0)
    chain, x = Chain().double(), torch.randn(5, 8, dtype=torch.float64)
    graph = capture(chain, x, preserve=chain)
    for segments in (2, 4, 12):
        pieces = segmented(Recorded(graph, graph, (x,)), segments, preserve=chain)
        assert len(pieces.pieces) > 1
        for first, second in zip(*(rehearsed(run, x, preserve=chain) for run in (graph, pieces)), strict=True):
            assert_same(first, second)
        loss = pieces(x)
        for _ in range(2):  # a third run needs the same as the second
            chain.zero_grad()
            loss.backward(retain_graph=True)
            found = [one.grad.clone() for one in chain.parameters()]
            chain.zero_grad()
            loss.backward(retain_graph=True)
            assert_same(found, [one.grad for one in chain.parameters()])


def test_a_step_that_writes_to_its_images_is_not_cut():
    chain, x = nn.Linear(4, 4), torch.randn(3, 4)
    graph = capture(lambda x: chain(x.mul_(1.0)).sum(), x, preserve=chain)
    with pytest.raises(RuntimeError, match="writes to its images"):
        segmented(Recorded(graph, graph, (x,)), 2, preserve=chain)


def peak(costs: Costs, cuts: list[int]) -> float:
    """While a segment runs backwards: what those before it handed on, and what autograd keeps of it."""
    starts, ends = [-1, *cuts], [*cuts, len(costs.saved) - 1]
    handed, most = 0.0, 0.0
    for start, end in zip(starts, ends, strict=True):
        most = max(most, handed + costs.saved[start + 1 : end + 1].sum())
        handed += costs.sizes[(costs.made > start) & (costs.made <= end) & (costs.used > end)].sum()
    return most


@pytest.mark.parametrize("seed", range(4))
def test_cuts_are_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    n = 9
    made = np.arange(n)
    used = np.minimum(made + random.integers(1, 4, n), n - 1)
    costs = Costs(random.uniform(1, 9, n), made, used, random.uniform(0.1, 2, n), random.random(n) < 0.8)
    places = np.flatnonzero(costs.allowed[:-1]).tolist()
    for segments in (1, 2, 3, 4):
        every = [list(one) for k in range(segments) for one in itertools.combinations(places, k)]
        best = min(peak(costs, one) for one in every)
        found = best_cuts(costs, segments)
        assert len(found) < segments
        assert set(found) <= set(places)
        assert peak(costs, found) <= best * 1.01


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("ppvae")]


def test_preparing_a_step_compares_few_images_and_cuts_the_graph_of_all(caplog, monkeypatch):
    compared = []
    real = Step._captured
    monkeypatch.setattr(
        Step, "_captured", lambda self, *inputs, tell: compared.append(len(inputs[0])) or real(self, *inputs, tell=tell)
    )
    step, images = Step(*make_pair("conv"), BetaELBO(), recompute=3).double().train(), images_of("conv").double()
    plain = captured("conv")
    with caplog.at_level(logging.INFO):
        step.prepare(images, NONE, execution="auto", steps=10**9)
    assert compared == [2]
    assert step.execution == "captured"
    assert len(step.run.pieces) == 3
    assert not said(caplog)
    for first, second in zip(
        rehearsed(step, images, NONE, preserve=step), rehearsed(plain[2], images, NONE, preserve=plain[0]), strict=True
    ):
        assert_same(first, second)


class Counting(VAE):
    """A model of other operations for many images than for few."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images * 1.0 if len(images) > 3 else images)


def test_a_step_whose_operations_depend_on_the_number_of_images_is_compared_on_all(caplog):
    model, guide = make_pair("conv")
    model = Counting(model.prior, model.likelihood)
    step, images = Step(model, guide, BetaELBO(), recompute=2).train(), images_of("conv")
    with caplog.at_level(logging.INFO):
        step.prepare(images, NONE, execution="captured")
    assert [line.partition(":")[0] for line in said(caplog)] == [
        "the step is compared with the eager one on all images of a batch, not few"
    ]
    assert isinstance(step.run, Segmented)


class Updating(MeanFieldNormal):
    """Its buffer grows in training alone, as a power iteration's vectors do."""

    def __init__(self, encoder: nn.Module, latents: int) -> None:
        super().__init__(encoder, latents)
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            self.updates.add_(1)
        return super().forward(images)


def test_a_step_that_does_less_without_gradients_is_compared_on_few_images_too(caplog):
    model, guide = make_pair("conv")
    step = Step(model, Updating(guide.encoder, 3), BetaELBO(), recompute=2).train()
    with caplog.at_level(logging.INFO):
        step.prepare(images_of("conv"), NONE, execution="captured")
    assert not said(caplog)
    assert len(step.run.pieces) == 2


IDLE = {
    "eager": ({"recompute": 2}, "eager", "recompute has no effect on a step that runs eagerly"),
    "eager budget": ({"memory_budget": 0.5}, "eager", "memory_budget has no effect on a step that runs eagerly"),
    "captured": ({"memory_budget": 0.5}, "captured", "memory_budget has no effect on a step that runs uncompiled"),
    "compiled": ({"recompute": 2}, "compiled", "nothing is compiled without memory_budget"),
}


@pytest.mark.parametrize("name", IDLE)
def test_a_setting_without_effect_is_said_in_one_line(name, caplog):
    options, way, line = IDLE[name]
    step = Step(*make_pair("implicit"), BetaELBO(), **options).train()
    step.prepare(images_of("implicit"), NONE, execution=way)
    assert len(said(caplog)) == 1
    assert line in said(caplog)[0]
    assert step.execution == ("eager" if way == "eager" else "captured")


@pytest.mark.parametrize("precision", ["bf16"])
def test_regions_of_autocast_are_cut_and_entered_again(precision):
    step = Step(*HIERARCHY.pair(), BetaELBO(), precision=precision).train()
    images = HIERARCHY.images()
    step.prepare(images, NONE, execution="captured")
    graph = step.run
    pieces = segmented(Recorded(graph, graph, (images, NONE)), 6, preserve=step)
    assert any("_enter" in str(node.target) for node in next(iter(pieces.pieces[1].first.graph.nodes)).users)
    for first, second in zip(*(rehearsed(run, images, NONE, preserve=step) for run in (graph, pieces)), strict=True):
        for one, other in zip(first, second, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert not torch.is_autocast_enabled("cpu")


def train(recipe: Recipe, **options):
    return fit(
        *make_pair("conv"),
        torch.cat([images_of("conv")] * 4),
        recipe=recipe,
        **{"epochs": 2, "batch_size": 12, "accelerator": "cpu", "progress": False} | options,
    )


def test_runs_are_those_without_it_accumulated_and_resumed(tmp_path):
    plain = train(Recipe(accumulate=2), execution="captured")
    recomputed = train(Recipe(accumulate=2, recompute=3))
    np.testing.assert_allclose(plain.loss, recomputed.loss, rtol=1e-6)
    train(Recipe(accumulate=2, recompute=3), epochs=1, directory=tmp_path)
    resumed = train(Recipe(accumulate=2, recompute="auto"), directory=tmp_path, resume=True)
    np.testing.assert_allclose(plain.loss, resumed.loss, rtol=1e-6)
    assert resumed.execution == "captured"


@pytest.mark.long
def test_a_budget_changes_what_a_compiled_step_keeps_and_nothing_else():
    """Noise above all: the compiler by itself draws it anew in the backward pass."""
    _, images, graph = captured("conv")
    found, kept = [], []
    for budget in (None, 0.3):
        step = Step(*make_pair("conv"), BetaELBO(), memory_budget=budget).double().train()
        step.prepare(images, NONE, execution="compiled")
        assert step.execution == "compiled"
        found.append(rehearsed(step, images, NONE, preserve=step))
        kept.append(kept_bytes(step, step, images, NONE))
    for results in found:
        for first, second in zip(results, rehearsed(graph, images, NONE, preserve=captured("conv")[0]), strict=True):
            assert_same(first, second)
    assert kept[1] < 0.5 * kept[0]


def test_a_compiled_step_with_other_gradients_is_refused(caplog, monkeypatch):
    def wrong(graph, *_, **__):
        return lambda *inputs: (graph(*inputs)[0] * 1.2, graph(*inputs)[1])

    monkeypatch.setattr("ppvae.svi.step.compile_graph", wrong)
    step = Step(*make_pair("conv"), BetaELBO(), memory_budget=0.5, recompute=2).train()
    step.prepare(images_of("conv"), NONE, execution="auto")
    assert "gradients differ from the captured step's" in said(caplog)[0]
    assert isinstance(step.run, Segmented)
