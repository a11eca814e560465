"""What runs on another device: the CPU's numbers bit for bit, and no operation on tensors of two devices."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from experiments.benchmarks.hand_written_two_view import CLUSTERS
from experiments.benchmarks.on_gpu.sizes import SMALL
from ppvae import elbo_surgery, fit, from_pyro_svi, log_marginal, rank_simulations
from ppvae.datasets import ImageDataset, sprites
from ppvae.datasets.images import RenderedImages
from ppvae.interventions import (
    ablate,
    codes,
    draw_images,
    interpolate,
    keep_groups,
    reconstruct,
    reestimate,
    traverse,
)
from ppvae.pair.settings import settings_of
from ppvae.svi import Recipe, batches, keeping, training
from ppvae.svi.batches import Batches, fits
from ppvae.svi.checkpoints import save_checkpoint
from ppvae.svi.loop import Loop
from ppvae.svi.precision import in_bf16
from ppvae.svi.rehearsal import unchanged
from ppvae.svi.step import Step

CPU = torch.device("cpu")
MLP, CONV, TWO_VIEW, (HIERARCHY,) = SMALL.setups["mlp"], SMALL.setups["conv"], SMALL.two_view, SMALL.hierarchies
EVERY = replace(SMALL, swaps=None, clusters=CLUSTERS)
NAMES = [trained.name for trained in EVERY.pairs()]


def test_tensors_of_two_devices_are_noticed(elsewhere, here):
    """The tool itself: sums are a mistake, moves, scalars and indices of the CPU are not."""
    layer = nn.Linear(3, 2)
    with elsewhere(layer) as device:
        far, near = torch.ones(3, device=device), torch.arange(3.0)
        assert here(far + near.to(device) + torch.tensor(1.0)).tolist() == [2, 3, 4]
        assert here(far[torch.tensor([0, 2])]).tolist() == [1, 1]
        assert far.cpu().sum() == 3
        for wrong in (
            lambda: far + near,
            lambda: near[far.long()],
            lambda: layer(near),
            lambda: torch.stack([torch.tensor(0.0), far[0]]),
            lambda: torch.rand(3, device=device, generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match=r"two devices|generator"):
                wrong()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_every_pair_and_objective_is_the_cpus(name, elsewhere, here):
    def stepped(device, step, trained):
        images, numbers = trained.setup.images().to(device), torch.tensor(trained.objective.numbers(0), device=device)
        torch.manual_seed(0)
        loss, values = step(images, numbers)
        loss.backward()
        buffers = [buffer.detach() for buffer in step.buffers()]
        return values, [one.grad for one in step.parameters() if one.grad is not None], buffers

    trained = next(one for one in EVERY.pairs() if one.name == name)
    step = Step(*trained.pair, trained.objective).train()
    there = copy.deepcopy(step)
    expected = stepped(CPU, step, trained)
    with elsewhere(there) as device:
        found = here(stepped(device, there, trained))
    assert torch.equal(found[0], expected[0])
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        assert all(torch.equal(*one) for one in zip(ours, theirs, strict=True))


@pytest.fixture
def trained(monkeypatch, here):
    """``trained(device, pair, data, recipe options, ...)``: a training there; its checkpoints are written here."""

    def run(device, pair, data, recipe=None, **options):
        def one(tensor, **_):
            return tensor.to(device)

        fabric = SimpleNamespace(device=device, global_rank=0, world_size=1, is_global_zero=True, all_reduce=one)
        monkeypatch.setattr(training, "fabric_of", lambda *_: fabric)
        monkeypatch.setattr(keeping, "save_checkpoint", lambda path, content: save_checkpoint(path, here(content)))
        recipe = Recipe(**{"options": {"fused": False}, **(recipe or {})})  # torch has no such kernel for "meta"
        options = {"epochs": 2, "validation": 0.25, **options}
        return fit(*pair, data, recipe=recipe, batch_size=8, compile=False, progress=False, **options)

    return run


def same_training(here, histories, pairs):
    """Whether losses, measures and parameters are equal; speeds are not compared."""
    timed = ["seconds", "images_per_second"]
    one, other = (history.drop_vars(timed) for history in histories)
    states = [nn.ModuleList(pair).state_dict().values() for pair in pairs]
    return one.equals(other) and all(torch.equal(here(a), here(b)) for a, b in zip(*states, strict=True))


@pytest.mark.parametrize(
    "recipe",
    [
        {"average": 0.9, "skip_norm": math.inf, "schedule": "cosine", "warmup": 2},
        {"clip_norm": 1.0, "clip_value": 0.5, "accumulate": 2, "optimizer": "sgd"},
        {"optimizer": "adamax", "options": None},
    ],
    ids=["averaged", "clipped", "adamax"],
)
def test_a_training_by_any_recipe_is_the_cpus(recipe, trained, elsewhere, here):
    """With BatchNorm, whose statistics are estimated again for an average."""
    images, pairs = torch.rand(32, *HIERARCHY.image_shape), [HIERARCHY.pair(), HIERARCHY.pair()]
    epochs = 2 if "average" in recipe else 1
    expected = trained(CPU, pairs[0], images, recipe, epochs=epochs)
    with elsewhere(*pairs[1]) as device:
        found = trained(device, pairs[1], images, recipe, epochs=epochs)
    assert same_training(here, (expected, found), pairs)


DATA = {
    "sprites": lambda _: sprites(32, image_size=32),
    "sprites there": lambda device: sprites(32, image_size=32, device=device),
    "dequantised": lambda _: sprites(32, image_size=32, dequantise="uniform"),
    "binarised": lambda _: sprites(32, image_size=32, binarise="dynamic"),
    "bytes": lambda _: sprites(32, image_size=32).stored(),
    "floats there": lambda device: sprites(32, image_size=32).observed(slice(None)).to(device),
    "drawn": lambda _: ImageDataset(RenderedImages(sprites(32, image_size=32).stored, torch.arange(32), (3, 32, 32))),
}


QUICK = ("sprites there", "floats there", "binarised")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in DATA]
)
def test_images_from_anywhere_train_the_cpus_pair(name, trained, elsewhere, here):
    pairs = CONV.pair("VAE"), CONV.pair("VAE")
    expected = trained(CPU, pairs[0], DATA[name](CPU), epochs=1)
    with elsewhere(*pairs[1]) as device:
        found = trained(device, pairs[1], DATA[name](device), epochs=1)
    assert same_training(here, (expected, found), pairs)


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")  # torch knows no meta tensor with numbers
def test_a_run_goes_on_elsewhere_and_comes_back(trained, elsewhere, here, tmp_path):
    recipe, data = {"average": 0.9, "skip_norm": math.inf}, sprites(32, image_size=32)
    still, pair = CONV.pair("NGVAE"), CONV.pair("NGVAE")
    expected = trained(CPU, still, data, recipe, epochs=3)
    options = {"directory": tmp_path / "run", "save_steps": 2}
    trained(CPU, pair, data, recipe, epochs=1, **options)
    pair = CONV.pair("NGVAE")
    with elsewhere(*pair) as device:
        trained(device, pair, data, recipe, epochs=2, resume=True, **options)
    pair = CONV.pair("NGVAE")
    found = trained(CPU, pair, data, recipe, epochs=3, resume=True, **options)
    assert same_training(here, (expected, found), (still, pair))


def tree(model, guide, images):
    return from_pyro_svi(model, guide, images, 2, prior=True, posterior_predictive=True)


EVALUATIONS = {
    "export": tree,
    "log p(x)": lambda model, guide, images: log_marginal(model, guide, images, 32),
    "surgery": elbo_surgery,
    "ranks": lambda model, guide, images: rank_simulations(model, guide, images, 20, 7),
    "reconstruction": lambda model, guide, images: reconstruct(model, tree(model, guide, images)),
    "ablation": lambda model, guide, images: ablate(model, tree(model, guide, images), site="z"),
    "traversal": lambda model, guide, images: traverse(model, tree(model, guide, images), site="z"),
}
OF_TWO_CODES = {
    "export": tree,
    "moments": lambda _, guide, images: codes.global_moments(guide, images),
    "style": lambda model, guide, images: codes.transfer_style(model, guide, images, images[:2]),
    "redrawn": lambda model, guide, images: codes.redraw(model, guide, images, "z_global"),
    "varied": lambda model, _guide, _images: codes.vary(model, 2, 2, cluster=1),
}


def same_finding(one, other, here):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, here(other))
    if isinstance(one, tuple):
        return all(same_finding(*both, here) for both in zip(one, other, strict=True))
    return one.equals(other)


OF_PAIRS = [
    *((one, MLP, "NGVAE") for one in EVALUATIONS.values()),
    *((one, TWO_VIEW, "optimal") for one in OF_TWO_CODES.values()),
    (tree, TWO_VIEW, "enumerated"),
]


@pytest.mark.parametrize(
    ("evaluate", "setup", "kind", "there"),
    [
        pytest.param(*one, there, marks=() if there == number % 2 else pytest.mark.long)
        for number, one in enumerate(OF_PAIRS)
        for there in (False, True)
    ],
)
def test_evaluation_is_the_cpus(evaluate, setup, kind, there, elsewhere, here):
    expected = evaluate(*setup.pair(kind), setup.images())
    pair, images = setup.pair(kind), setup.images()
    with elsewhere(*pair) as device:
        found = evaluate(*pair, images.to(device) if there else images)
    assert same_finding(expected, found, here)


def drawn_cold(pair):
    """Everything that is drawn of a hierarchy, by names."""
    kept = from_pyro_svi(pair.model, pair.guide, pair.images, 2, sites=["z_1"], moments=True)
    with reestimate(pair.model, temperature=0.7, batches=2, size=8):
        cold = draw_images(pair.model, 3, temperature=0.7)
        statistics = pair.top_down.norm.running_mean.clone()
    like = draw_images(pair.model, 3, temperature=0.0, like=pair.images)
    groups = keep_groups(pair.model, kept, draws=2, temperature=0.5)
    return kept, cold, statistics, like, groups, interpolate(pair.model, kept, path="spherical")


def test_draws_of_a_hierarchy_are_the_cpus(hierarchy, elsewhere, here):
    expected, pair = drawn_cold(hierarchy(norm=True)), hierarchy(norm=True)
    with elsewhere(pair.model, pair.guide):
        found = drawn_cold(pair)
    assert all(same_finding(*both, here) for both in zip(expected, found, strict=True))


def test_settings_say_nothing_of_the_device(elsewhere):
    """Else a run could not go on elsewhere: torch's lists of parameters tell where those are."""

    def program():
        module = nn.Module()
        module.list, module.dict = nn.ParameterList([torch.ones(2)]), nn.ParameterDict({"a": torch.ones(3)})
        return module

    moved = program()
    with elsewhere(moved):
        assert settings_of(moved) == settings_of(program())


def test_noise_of_a_step_is_seeded_on_its_gpu(monkeypatch):
    generators = [torch.Generator(), torch.Generator()]
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    loop = SimpleNamespace(fabric=SimpleNamespace(device=torch.device("cuda:1")))
    before = generators[0].get_state()
    Loop._seed(loop, 7)
    assert generators[1].initial_seed() == torch.initial_seed() == 7
    assert torch.equal(generators[0].get_state(), before)


@pytest.mark.parametrize(("free", "resident"), [(2.6, True), (2.4, False)])
def test_images_stay_in_memory_where_they_need_more_than_their_share_of_a_gpu(free, resident, monkeypatch):
    pixels = torch.zeros(10, 1, 2, 2, dtype=torch.uint8)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free * pixels.nbytes, 1e12))
    assert fits(pixels, torch.device("cuda:0")) is resident
    assert fits(pixels, CPU)


def test_only_what_is_copied_from_memory_to_a_gpu_is_pinned(monkeypatch):
    monkeypatch.setattr(batches, "fits", lambda *_: False)
    pixels = torch.zeros(8, 1, 2, 2, dtype=torch.uint8)
    drawn = RenderedImages(lambda at: pixels[at], torch.arange(8), (1, 2, 2))
    pinned = {
        (device, type(source)): Batches(source, 4, 0, torch.device(device), 0, 1)._loader.pin_memory
        for device in ("cuda:0", "cpu")
        for source in (pixels, drawn)
    }
    assert [key for key, value in pinned.items() if value] == [("cuda:0", torch.Tensor)]


def test_streamed_batches_are_the_resident_ones(monkeypatch, elsewhere, here):
    pixels, labels = torch.randint(256, (12, 1, 2, 2), dtype=torch.uint8), torch.arange(12)
    found = []
    with elsewhere() as device:
        for room in (True, False):
            monkeypatch.setattr(batches, "fits", lambda *_, room=room: room)
            source = Batches(pixels, 4, 0, device, 0, 1, given=(labels,))
            assert source.resident is room
            batch = [*source.epoch(0), *source.epoch(1, start=1), source.first(), *(one for (one,) in source.some())]
            assert all(one.device == device for part in batch for one in part)
            found.append(here(batch))
    assert all(torch.equal(*both) for parts in zip(*found, strict=True) for both in zip(*parts, strict=True))


def test_networks_run_in_bf16_on_the_steps_device(monkeypatch):
    asked = []
    autocast = torch.autocast

    def noted(device, **options):
        asked.append(device)
        return autocast("cpu", **options)

    monkeypatch.setattr(torch, "autocast", noted)
    layer = nn.Linear(2, 2)
    with in_bf16([layer], torch.device("cuda:0")):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
    assert asked == ["cuda"]


def test_a_rehearsal_puts_back_the_random_states_of_the_inputs_gpus(monkeypatch):
    forked = []
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: forked.append(devices) or torch.no_grad())
    gpus = [SimpleNamespace(is_cuda=True, device=torch.device("cuda", index)) for index in (1, 0, 1)]
    with unchanged(nn.Linear(1, 1), *gpus):
        pass
    assert forked == [[torch.device("cuda:0"), torch.device("cuda:1")]]
