"""Every objective trains by the captured step as it does eagerly: values, gradients, state, and whole runs."""

import numpy as np
import pytest
import torch

from ppvae import (
    GECO,
    Annealed,
    Balanced,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    SoftFreeBits,
    TotalCorrelation,
    UserError,
    fit,
)
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

OBJECTIVES = {
    "beta": lambda: BetaELBO(beta=4.0),
    "balanced": lambda: Balanced(),
    "free bits": lambda: FreeBits(nats=0.05),
    "free bits of each image": lambda: FreeBits(nats=0.05, per_image=True),
    "soft free bits": lambda: SoftFreeBits(nats=1000.0),
    "capacity": lambda: Capacity(gamma=10.0, stop=3.0, steps=5),
    "geco": lambda: GECO(error=0.4, start=0.5, rate=0.1),
    "importance weighted": lambda: ImportanceWeighted(samples=3),
    "doubly reparameterised": lambda: ImportanceWeighted(samples=3, doubly_reparameterised=True),
    "total correlation": lambda: TotalCorrelation(images=50),
}
LEGAL = [
    (pair, name, annealed)
    for pair in ("normal", "normal-gamma implicit", "normal-gamma g-rep")
    for name in OBJECTIVES
    for annealed in (False, True)
    if not (pair != "normal" and name == "total correlation")
    and not (pair == "normal-gamma g-rep" and name == "doubly reparameterised")
]
QUICK = {  # each pair, each objective, annealed and not, and the objectives whose gradients hang on the pair's draws
    *(("normal", name, number % 2 == 0) for number, name in enumerate(OBJECTIVES)),
    ("normal-gamma implicit", "free bits", True),
    ("normal-gamma implicit", "importance weighted", True),
    ("normal-gamma implicit", "doubly reparameterised", False),
    ("normal-gamma g-rep", "beta", False),
    ("normal-gamma g-rep", "soft free bits", True),
    ("normal-gamma g-rep", "importance weighted", False),
}


@pytest.mark.parametrize(
    ("name", "objective", "annealed"),
    [case if case in QUICK else pytest.param(*case, marks=pytest.mark.long) for case in LEGAL],
)
def test_the_graph_has_the_eager_steps_values_and_gradients(build, name, objective, annealed):
    """On other noise, images and numbers than those it was recorded with; capture itself compares only its own.

    In float64, since merging reorders the sums of gradients, and G-REP's are ill-conditioned.
    """
    pair, objective = build(name), OBJECTIVES[objective]()
    if annealed:
        objective = Annealed(objective=objective, steps=10, start=0.1)
    step = Step(pair.model, pair.guide, objective).double()
    graph = capture(step.eager, pair.images.double(), torch.tensor(objective.numbers(0)), preserve=step)
    images, numbers = pair.images.double().flip(0), torch.tensor(objective.numbers(3))
    results = []
    for run in (step.eager, graph):
        buffers = {key: value.clone() for key, value in step.named_buffers()}
        torch.manual_seed(5)
        loss, values = run(images, numbers)
        gradients = torch.autograd.grad(loss, list(step.parameters()), allow_unused=True)
        results.append((loss.detach(), values, gradients, {k: v.clone() for k, v in step.named_buffers()}))
        for key, value in step.named_buffers():
            value.copy_(buffers[key])
    eager, captured = results
    torch.testing.assert_close(captured[:2], eager[:2], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(captured[2], eager[2], strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()) + 1e-7)
    assert captured[3].keys() == eager[3].keys()
    for key, value in captured[3].items():
        torch.testing.assert_close(value, eager[3][key])
    if isinstance(objective, SoftFreeBits):
        assert captured[3]["objective_state.weight"] != 1
    if isinstance(objective, GECO):
        assert captured[3]["objective_state.multiplier"] != 0.5


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_by_captured_steps_is_the_eager_run(build, name):
    """Three epochs of four steps; every run also logs the plain ELBO, rate and distortion."""
    histories = []
    for execution in ("eager", "captured"):
        torch.manual_seed(0)
        pair = build("normal")
        settings = {"epochs": 3, "batch_size": 4, "execution": execution, "progress": False, "accelerator": "cpu"}
        histories.append(fit(pair.model, pair.guide, pair.images, OBJECTIVES[name](), **settings))
    eager, captured = histories
    assert (eager.execution, captured.execution) == ("eager", "captured")
    for variable in ("loss", "elbo", "rate", "distortion"):
        np.testing.assert_allclose(captured[variable], eager[variable], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(captured.elbo, -captured.rate - captured.distortion)
    if name == "total correlation":
        parts = captured.mutual_information + captured.total_correlation + captured.marginal_kl
        np.testing.assert_allclose(parts, captured.rate, rtol=1e-4, atol=1e-4)


def test_state_belongs_to_the_run_and_is_resumed(build, tmp_path):
    """The caller's objective keeps its own weight; a resumed run continues with the checkpoint's."""
    objective = SoftFreeBits(nats=1000.0)
    settings = {"batch_size": 8, "compile": False, "progress": False, "accelerator": "cpu"}
    torch.manual_seed(0)
    whole = build("normal")
    expected = fit(whole.model, whole.guide, whole.images, objective, epochs=4, **settings)
    assert objective.state.weight == 1
    torch.manual_seed(0)
    pair = build("normal")
    fit(pair.model, pair.guide, pair.images, objective, epochs=2, directory=tmp_path, **settings)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert float(saved["objective"]["weight"]) == pytest.approx(0.9**4)
    resumed = fit(pair.model, pair.guide, pair.images, objective, epochs=4, directory=tmp_path, resume=True, **settings)
    np.testing.assert_array_equal(resumed.loss, expected.loss)
    with pytest.raises(UserError, match=r"nats=1000.0, now it is 3.0"):
        fit(
            pair.model,
            pair.guide,
            pair.images,
            SoftFreeBits(nats=3.0),
            epochs=5,
            directory=tmp_path,
            resume=True,
            **settings,
        )
