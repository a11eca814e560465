"""Penalties of the weights: values and gradients by decomposition, beside any objective, in every way of training."""

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI
from torch import nn

from experiments.benchmarks.hierarchies import HierarchySetup
from ppvae import Annealed, Balanced, BetaELBO, Penalised, SoftFreeBits, UserError, check_pair, fit
from ppvae.svi import Recipe
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

SETUP = HierarchySetup(sides=(2, 4), image_shape=(1, 8, 8), batch_size=6, width=4, latents=2)
SETTINGS = {"batch_size": 6, "learning_rate": 1e-3, "progress": False, "accelerator": "cpu"}


def double_pair() -> tuple[nn.Module, nn.Module]:
    model, guide = SETUP.pair()
    for number, norm in enumerate(part for part in nn.ModuleList([model, guide]).modules() if is_norm(part)):
        nn.init.normal_(norm.weight, mean=(-1.0) ** number)  # largest by their absolute value
    return model.double(), guide.double()


def is_norm(part: nn.Module) -> bool:
    return isinstance(part, nn.BatchNorm2d)


def penalty_by_hand(pair: tuple[nn.Module, nn.Module], spectral: float, batch_norm: float) -> torch.Tensor:
    """Layer by layer, each once."""
    total = torch.zeros((), dtype=torch.float64)
    for part in nn.ModuleList(pair).modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            weight = part.weight.transpose(0, 1) if isinstance(part, nn.ConvTranspose2d) else part.weight
            total = total + spectral * torch.linalg.svdvals(weight.flatten(1))[0]
        elif is_norm(part):
            total = total + batch_norm * part.weight.abs().max()
    return total


def graded(objective, pair, warmth: float = 1.0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(1)
    loss, _ = objective.evaluate(*pair, (SETUP.images().double(),), torch.empty(0), warmth)
    return loss, list(torch.autograd.grad(loss, [*nn.ModuleList(pair).parameters()]))


def test_value_and_gradient_are_those_of_the_decompositions():
    pair = double_pair()
    penalised = Penalised(objective=BetaELBO(), spectral=0.3, batch_norm=0.7).bound_to(6, *pair)
    for _ in range(80):  # to the last digit
        penalised._penalty(*pair)
    by_hand = penalty_by_hand(pair, 0.3, 0.7)
    wanted = torch.autograd.grad(by_hand, [*nn.ModuleList(pair).parameters()], materialize_grads=True)
    loss, gradients = graded(penalised, pair)
    plain, plain_gradients = graded(BetaELBO(), pair)
    torch.testing.assert_close(loss - plain, by_hand)
    for ours, theirs, more in zip(gradients, plain_gradients, wanted, strict=True):
        torch.testing.assert_close(ours - theirs, more, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()) + 1e-6)
    assert penalised.reported(torch.empty(0))["penalty"] == pytest.approx(by_hand.item())


def test_each_weight_alone():
    pair = double_pair()
    scales = Penalised(objective=BetaELBO(), spectral=0, batch_norm=0.5).bound_to(6, *pair)
    torch.testing.assert_close(graded(scales, pair)[0] - graded(BetaELBO(), pair)[0], penalty_by_hand(pair, 0, 0.5))
    kernels = Penalised(objective=BetaELBO(), spectral=0.5, batch_norm=0).bound_to(6, *pair)
    found = graded(kernels, pair)[0] - graded(BetaELBO(), pair)[0]
    most = penalty_by_hand(pair, 0.5, 0)
    assert 0.99 * most < found <= most  # after 44 iterations
    none = Penalised(objective=BetaELBO(), spectral=0, batch_norm=0).bound_to(6, *pair)
    torch.testing.assert_close(graded(none, pair)[0], graded(BetaELBO(), pair)[0])


def test_the_annealing_leaves_the_penalty_alone_whichever_is_around_the_other():
    """D + w·KL + penalty; ``loss`` knows measurements alone."""
    pair, annealing = double_pair(), {"steps": 10, "start": 0.0}
    around = Annealed(objective=Penalised(objective=BetaELBO()), **annealing).bound_to(6, *pair)
    within = Penalised(objective=Annealed(objective=BetaELBO(), **annealing)).bound_to(6, *pair)
    assert around.numbers(3) == within.numbers(3) == (0.3,)
    assert around.settles == within.settles == 10
    found = []
    for objective, penalised in ((around, around.objective), (within, within)):
        torch.manual_seed(1)
        loss, terms = objective.evaluate(*pair, (SETUP.images().double(),), torch.tensor(objective.numbers(3)))
        cost = terms.distortion.mean() + 0.3 * terms.rate.mean()
        torch.testing.assert_close(loss, cost + penalised.state.penalty)
        torch.testing.assert_close(objective.loss(terms, torch.tensor([0.3])), cost)
        reported = objective.reported(torch.tensor([0.3]))
        assert (set(reported), float(reported["warmth"])) == ({"warmth", "penalty"}, pytest.approx(0.3))
        found.append(loss)
    torch.testing.assert_close(*found)


def test_the_captured_step_is_the_eager_one_and_batches_its_kernels():
    """Values, gradients and vectors on other noise; a bmm costs a shape of kernels, not a layer."""
    objective = Annealed(objective=Penalised(objective=SoftFreeBits(nats=1.0), spectral=0.5), steps=10)
    pair = double_pair()
    objective = objective.bound_to(6, *pair)
    step, images = Step(*pair, objective), SETUP.images().double()
    graph = capture(step.eager, images, torch.tensor(objective.numbers(0)), preserve=step)
    products = sum(node.target is torch.ops.aten.bmm.default for node in graph.graph.nodes)
    assert products == 10 * len(list(objective.objective.state.norms.buffers())) < 10 * SETUP.modules(nn.Conv2d) / 2
    numbers, results = torch.tensor(objective.numbers(4)), []
    before = {name: one.clone() for name, one in step.named_buffers()}
    for run in (step.eager, graph):
        torch.manual_seed(5)
        for _ in range(2):
            loss, values = run(images, numbers)
        gradients = torch.autograd.grad(loss, [*step.parameters()])
        results.append((loss, values, *gradients, *(one.clone() for one in step.buffers())))
        for name, one in step.named_buffers():
            one.copy_(before[name])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9 + 1e-9 * theirs.abs().max().item())
    moved = [name for name, one in zip(before, results[0][-len(before) :], strict=True) if name.startswith("obj")]
    assert "objective_state.inner.weight" in moved
    assert sum("left_" in name for name in moved) == products / 10


def test_a_run_keeps_its_vectors_in_the_checkpoint(tmp_path):
    """Resumed, with averaged parameters and a validation, it is the uninterrupted run; the caller's has no vectors."""
    objective = Annealed(objective=Penalised(objective=SoftFreeBits(nats=1.0), spectral=0.1), steps=4)
    images = torch.rand(20, *SETUP.image_shape)
    settings = SETTINGS | {"execution": "eager", "validation": 0.2, "recipe": Recipe(average=0.9)}
    whole = fit(*SETUP.pair(), images, objective, epochs=2, **settings)
    pair = SETUP.pair()
    fit(*pair, images, objective, epochs=1, directory=tmp_path, **settings)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["objective"]
    assert {"penalty", "inner.weight", "norms.left_4x36"} < saved.keys()
    pair = SETUP.pair()
    resumed = fit(*pair, images, objective, epochs=2, directory=tmp_path, resume=True, **settings)
    for name in ("loss", "penalty", "elbo", "validation_loss", "kl_weight"):
        np.testing.assert_array_equal(resumed[name], whole[name])
    np.testing.assert_allclose(whole.elbo, -whole.rate - whole.distortion)
    assert not list(objective.objective.state.norms.buffers())
    assert objective.objective.objective.state.weight == 1


def test_in_pyros_own_svi_it_takes_the_pair_that_it_meets():
    """First one, then another of other shapes; validation of either changes no vector."""
    penalised, images = Penalised(objective=BetaELBO(), spectral=0.1), SETUP.images()
    for setup in (SETUP, HierarchySetup(sides=(2,), image_shape=(1, 8, 8), width=6, latents=2)):
        model, guide = setup.pair()
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss=penalised)
        for _ in range(2):
            svi.step(images)
        vectors = [one.clone() for one in penalised.state.buffers()]
        assert float(penalised.state.penalty) > 0
        assert {one.shape[1] for one in vectors[1:]} >= {setup.width, 2 * setup.latents}
        svi.evaluate_loss(images)
        assert all(map(torch.equal, vectors, penalised.state.buffers()))
        pyro.clear_param_store()


def test_a_network_without_normalisations_has_its_kernels_penalised():
    """The default weights are of both, and one suffices."""
    model, guide = SETUP.pair()
    for part in nn.ModuleList([model, guide]).modules():
        for name, inner in [*part.named_children()]:
            if isinstance(inner, nn.BatchNorm2d):
                setattr(part, name, nn.Identity())
    check_pair(model, guide, SETUP.images(), Penalised(objective=Balanced()))
    with pytest.raises(UserError, match=r"batch_norm=0\.01: .* no normalisation with scales.*spectral=0\.01"):
        check_pair(model, guide, SETUP.images(), Penalised(objective=Balanced(), spectral=0))


def test_mistakes_are_named_in_one_line(build):
    for name in ("spectral", "batch_norm"):
        with pytest.raises(UserError, match=f"{name}=-0.1") as caught:
            Penalised(objective=BetaELBO(), **{name: -0.1})
        assert "\n" not in str(caught.value)
    pair, penalised = build("normal"), Penalised(objective=BetaELBO())
    said = r"spectral=0\.01: model and guide have no convolution to penalise; give a convolutional network, spectral=0"
    for attempt in (
        lambda: check_pair(pair.model, pair.guide, pair.images, Annealed(objective=penalised)),
        lambda: fit(pair.model, pair.guide, pair.images, penalised, epochs=1, **SETTINGS),
        lambda: penalised(pair.model, pair.guide, pair.images),
    ):
        with pytest.raises(UserError, match=said) as caught:
            attempt()
        assert "\n" not in str(caught.value)
