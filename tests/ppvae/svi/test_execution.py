"""How a step runs: what is asked for, what is timed, what is remembered, and what a resumed run does."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, UserError, fit
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi import execution
from ppvae.svi.capture import capture
from ppvae.svi.execution import Pace, expected_compile_seconds, faster, fingerprint, remembered

SHAPE, LATENTS = (1, 8, 8), 3
SETTINGS = {"batch_size": 8, "progress": False, "accelerator": "cpu"}


def make_pair(hidden: int = 16) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    model = VAE(NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[hidden]), scale=0.3))
    return model, MeanFieldNormal(MLPEncoder(SHAPE, hidden=[hidden]), LATENTS)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ppvae"


@pytest.fixture
def timed(monkeypatch):
    """Compilation by a stub; ``paces`` gives the seconds of a step of each, ``compiled`` the graphs compiled."""
    told = SimpleNamespace(paces={"captured": 0.010, "compiled": 0.005}, compiled=[])

    def compile_graph(graph, *_, **__):
        compiled = lambda *inputs: graph(*inputs)  # noqa: E731 - another object than the graph
        told.compiled.append(compiled)
        return compiled

    def seconds(run, *_):
        return told.paces["compiled" if run in told.compiled else "captured"]

    monkeypatch.setattr(execution, "compile_graph", compile_graph)
    monkeypatch.setattr(execution, "_seconds", seconds)
    return told


def graph_of(size: int = 4):
    module, x = nn.Linear(size, size), torch.ones(2, size)
    return capture(lambda x: (module(x).square().sum(),), x, preserve=module), x, module


def test_the_way_asked_for_is_the_way_taken(images):
    histories = {}
    for way in ("eager", "captured", "auto"):
        histories[way] = fit(*make_pair(), images, epochs=2, execution=way, **SETTINGS)
    assert histories["eager"].execution == "eager"
    assert {histories[way].execution for way in ("captured", "auto")} == {"captured"}  # a short run compiles nothing
    assert fit(*make_pair(), images, epochs=1, compile=False, **SETTINGS).execution == "eager"


def test_a_misspelt_or_contradicting_wish_ends_in_one_line(images):
    with pytest.raises(UserError, match=r"^execution='compile': expected one of auto, eager, captured, compiled$"):
        fit(*make_pair(), images, execution="compile", **SETTINGS)
    with pytest.raises(UserError, match=r"^execution='captured' with compile=False, which means 'eager'"):
        fit(*make_pair(), images, execution="captured", compile=False, **SETTINGS)


def test_a_run_too_short_to_repay_a_compilation_tries_none(timed, folder):
    graph, x, module = graph_of()
    expected = expected_compile_seconds(graph, x.device)
    few = int(expected / 0.010)  # half of their time would not do
    assert faster(graph, x, preserve=module, steps=few) is None
    assert not timed.compiled
    assert not folder.exists()  # a longer run will try


@pytest.mark.parametrize("compiled", [0.005, 0.020])
def test_a_long_run_times_both_ways_once_and_remembers(compiled, timed, folder):
    timed.paces = {"captured": 0.010, "compiled": compiled}
    graph, x, module = graph_of()
    chosen = faster(graph, x, preserve=module, steps=10**6)
    assert (chosen is not None) == (compiled < 0.010)
    (pace,) = remembered().values()
    assert (pace.captured, pace.compiled) == (0.010, compiled)
    assert json.loads((folder / "execution.json").read_text())
    timed.paces = {"captured": 1.0, "compiled": 2.0}  # a busy machine: nobody asks again
    again = faster(graph, x, preserve=module, steps=10**6)
    assert (again is not None) == (compiled < 0.010)
    assert len(timed.compiled) == (2 if compiled < 0.010 else 1)


def test_what_is_remembered_counts_for_runs_that_repay_the_compilation():
    pace = Pace(captured=0.010, compiled=0.005, compilation=10.0)
    assert not pace.repays(2000)
    assert pace.repays(2001)
    assert not Pace(captured=0.010, compiled=0.011, compilation=0.0).repays(10**9)


def test_large_graphs_are_never_compiled_unasked(timed, monkeypatch):
    """A compilation of 20 groups had not ended after minutes."""
    graph, x, module = graph_of()
    monkeypatch.setattr(execution, "expected_compile_seconds", lambda *_: 301.0)
    assert faster(graph, x, preserve=module, steps=10**9) is None
    assert not timed.compiled


def test_the_guess_grows_with_the_graph():
    graph, x, module = graph_of()
    larger = capture(lambda x: sum(module(x * i).square().sum() for i in range(9)), x, preserve=module)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert expected_compile_seconds(larger, cpu) > expected_compile_seconds(graph, cpu)
    assert expected_compile_seconds(larger, gpu) > expected_compile_seconds(graph, gpu)


def test_another_shape_or_structure_is_timed_anew():
    graph, x, module = graph_of()
    assert fingerprint(graph, x) == fingerprint(graph_of()[0], x)
    others = [graph_of(5)[0], capture(lambda x: (module(x).exp().sum(),), x, preserve=module)]
    threads = torch.get_num_threads()
    keys = {fingerprint(one, x) for one in (graph, *others)}
    torch.set_num_threads(threads + 1)
    try:
        keys.add(fingerprint(graph, x))
    finally:
        torch.set_num_threads(threads)
    assert len(keys) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": {"captured": 1}}'])
@pytest.mark.usefixtures("timed")
def test_a_damaged_memory_is_an_empty_one(content, folder):
    folder.mkdir(parents=True)
    (folder / "execution.json").write_text(content)
    assert remembered() == {}
    graph, x, module = graph_of()
    assert faster(graph, x, preserve=module, steps=10**6) is not None
    assert len(remembered()) == 1


@pytest.mark.usefixtures("timed")
def test_a_memory_that_cannot_be_written_changes_nothing(folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder should be")
    graph, x, module = graph_of()
    assert faster(graph, x, preserve=module, steps=10**6) is not None
    assert remembered() == {}


@pytest.mark.usefixtures("timed")
def test_a_failed_compilation_is_not_remembered(monkeypatch):
    monkeypatch.setattr(execution, "compile_graph", lambda *_, **__: None)
    graph, x, module = graph_of()
    assert faster(graph, x, preserve=module, steps=10**6) is None
    assert remembered() == {}


def test_timing_leaves_parameters_and_buffers():
    module, x = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), torch.randn(8, 4)
    graph = capture(lambda x: (module(x).square().sum(),), x, preserve=module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    assert execution._seconds(graph, (x,), module) > 0
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_resumed_run_goes_on_the_way_it_began(images, tmp_path, timed):
    """Whatever the machine's memory says by then."""
    run = {"directory": tmp_path / "run", **SETTINGS}
    assert fit(*make_pair(), images, epochs=1, **run).execution == "captured"
    timed.paces = {"captured": 1e6, "compiled": 1.0}
    assert fit(*make_pair(), images, epochs=2, resume=True, **run).execution == "captured"
    other = {**run, "directory": tmp_path / "other"}
    assert fit(*make_pair(), images, epochs=1, **other).execution == "compiled"


def test_preparation_shows_what_it_does(images, capsys, monkeypatch):
    for user in ("progress", "loop"):
        monkeypatch.setattr(f"ppvae.svi.{user}.drawable", lambda: True)
    fit(*make_pair(), images, epochs=1, **{**SETTINGS, "progress": True})
    shown = capsys.readouterr().err
    for stage in ("recording the step", "merging what repeats", "comparing with the eager step", "timing the step"):
        assert stage in shown
