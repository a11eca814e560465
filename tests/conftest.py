"""Shared fixtures: one thread, one seed, tiny pairs, and a parameter store that every test leaves empty."""

import gc
import logging
import multiprocessing
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, Program
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior

torch.set_num_threads(1)

LONGEST = (  # few tests of many seconds each
    "test_command_line.py",
    "test_on_gpu.py",
    "test_snippets.py",
    "test_readme.py",
    "test_build.py",
    "test_wheel.py",
    "test_two_view.py",
    "test_rehearsal.py",
    "test_benchmarks.py",
    "test_configurations.py",
    "test_study.py",
    "test_processes.py",
    "test_import.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process is left alone with one at the end."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Thousands of tests, and all that they import, need not be looked through again by each collection of garbage."""
    gc.collect()
    gc.freeze()


SMALLER = {  # what documents print, on fewer images and for fewer steps
    r"\bepochs=(20|2)\b": "epochs=1, compile=False",
    r"levels=40, epochs=200": "levels=2, epochs=2, ablated=8, compile=False",
    r"size=8192": "size=96",
    r"size=2048": "size=128",
    r"size=200": "size=12",
    r"(examine\(model, guide, data.images)\[:100\]": r"\1[:12], num_samples=30, simulations=20",
    r"(information_split\(model, guide, data.images)\[:100\]": r"\1[:12], others=3",
    r"images\[:100\]": "images[:12]",
    r"slice\(1000\)": "slice(16)",
    r"images\[:1000\]": "images[:16]",
    r"num_samples=64": "num_samples=4",
    r"score_interval\((\w+), codes, factors": r"score_interval(\1, codes, factors, resamples=20",
    r"temperature=0.7\):": "temperature=0.7, batches=2):",
}
PAIRS = ("normal", "normal-gamma implicit", "normal-gamma g-rep")
LIKELIHOODS = ("normal", "bernoulli")
IMAGE_SHAPE = (1, 6, 6)
LATENTS = 3


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Whatever a test before has set: two threads that share cores with others take many times as long."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _empty_param_store() -> Iterator[None]:
    yield
    left = list(pyro.get_param_store().keys())
    pyro.clear_param_store()
    assert not left, f"the test left {left} in Pyro's global parameter store"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Hydra's launchers, where they run in this process, set the levels of our loggers for good."""
    loggers = [logging.getLogger(name) for name in ("ppvae", "experiments")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def make_pair(name: str, likelihood: str = "normal", encoder=None, decoder=None) -> SimpleNamespace:
    """A pair by its name, over tiny images unless networks are given; equal names share no parameter."""
    encoder = encoder or MLPEncoder(IMAGE_SHAPE, (16,))
    decoder = decoder or MLPDecoder(LATENTS, IMAGE_SHAPE, (16,))
    if name == "normal":
        prior, guide = NormalPrior(decoder.latents), MeanFieldNormal(encoder, decoder.latents)
    else:
        prior = NormalGammaPrior(decoder.latents)
        guide = NormalGammaGuide(encoder, decoder.latents, estimator=name.split()[-1])
    pixels = NormalLikelihood(decoder, 0.3) if likelihood == "normal" else BernoulliLikelihood(decoder)
    images = torch.rand(16, *decoder.image_shape)
    images = images.round() if likelihood == "bernoulli" else images
    return SimpleNamespace(name=name, model=VAE(prior, pixels), guide=guide, images=images)


@pytest.fixture
def build() -> Callable[..., SimpleNamespace]:
    """:func:`make_pair`, for tests that want several pairs or other networks."""
    return make_pair


GROUPS = {"z_1": (2, 1, 1), "z_2": (1, 2, 2), "z_3": (2, 4, 4)}  # maps, rows, columns
SPREADS = {"z_1": 1.0, "z_2": 0.5, "z_3": 0.8}  # scales of p(z_l | z_1 … z_l−1)


class LinearTopDown(nn.Module):
    """Features h_l = h_l−1 + A_l z_l, (..., 16), and p(z_l | ·) = N(B_l h_l−1 + b_l, s_l²): all linear and Gaussian.

    ``norm`` puts a BatchNorm over the features behind z_1.
    """

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        sizes = {name: torch.Size(shape).numel() for name, shape in GROUPS.items()}
        self.enter = nn.ModuleDict({name: nn.Linear(size, 16, bias=False) for name, size in sizes.items()})
        self.prior = nn.ModuleDict({name: nn.Linear(16, size) for name, size in sizes.items()})
        self.norm = nn.BatchNorm1d(16) if norm else None

    def loc(self, name: str, features: torch.Tensor) -> torch.Tensor:
        return self.prior[name](features).unflatten(-1, GROUPS[name])

    def walk(self, draw: Callable[[str, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        features = self.enter["z_1"].weight.new_zeros(16)
        for name in GROUPS:
            features = features + self.enter[name](draw(name, features).flatten(-3))
            if name == "z_1" and self.norm is not None:
                features = self.norm(features.reshape(-1, 16)).reshape(features.shape)
        return features


def _of_group(name: str, loc: torch.Tensor, scale: float) -> torch.Tensor:
    dims = [f"{dim}_{name[2:]}" for dim in ("latent", "row", "column")]
    return pyro.sample(name, dist.Normal(loc, scale).to_event(3), infer={"event_dims": dims})


class LinearHierarchyPrior(nn.Module):
    """Draws z_1, z_2, z_3 and returns the last features."""

    def __init__(self, top_down: LinearTopDown) -> None:
        super().__init__()
        self.top_down = top_down

    def forward(self) -> torch.Tensor:
        return self.top_down.walk(lambda name, h: _of_group(name, self.top_down.loc(name, h), SPREADS[name]))


class LinearHierarchyGuide(Program):
    """q(z_l | z_1 … z_l−1, x) = N(B_l h_l−1 + C_l x, (s_l / 2)²), relative to the model's, on the same network."""

    def __init__(self, top_down: LinearTopDown) -> None:
        super().__init__()
        self.top_down = top_down
        heads = {name: nn.Linear(16, torch.Size(shape).numel()) for name, shape in GROUPS.items()}
        self.heads = nn.ModuleDict(heads)

    def forward(self, images: torch.Tensor) -> None:
        def draw(name: str, features: torch.Tensor) -> torch.Tensor:
            shift = self.heads[name](images.flatten(-3)).unflatten(-1, GROUPS[name])
            return _of_group(name, self.top_down.loc(name, features) + shift, SPREADS[name] / 2)

        with pyro.plate("image", images.shape[-4], dim=-1):
            self.top_down.walk(draw)


class PlainLikelihood(nn.Module):
    """p(x | features) = N(features, 0.3²), of images (1, 4, 4)."""

    def forward(self, features: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal(features.unflatten(-1, (1, 4, 4)), 0.3).to_event(3)


@pytest.fixture
def hierarchy() -> Callable[..., SimpleNamespace]:
    """A pair of three groups of unlike sizes that share one linear top-down network; images (12, 1, 4, 4)."""

    def make(norm: bool = False) -> SimpleNamespace:
        torch.manual_seed(1)
        top_down = LinearTopDown(norm)
        model = VAE(LinearHierarchyPrior(top_down), PlainLikelihood())
        guide = LinearHierarchyGuide(top_down)
        return SimpleNamespace(model=model, guide=guide, top_down=top_down, images=torch.randn(12, 1, 4, 4))

    return make


@pytest.fixture(params=PAIRS)
def pair_name(request: pytest.FixtureRequest) -> str:
    """The name of each pair in turn."""
    return request.param


@pytest.fixture(params=LIKELIHOODS)
def pair(pair_name: str, request: pytest.FixtureRequest) -> SimpleNamespace:
    """Each pair with each likelihood: ``model``, ``guide``, ``images`` (16, 1, 6, 6) and ``name``."""
    return make_pair(pair_name, request.param)


@pytest.fixture
def within_errors() -> Callable[..., None]:
    """Assert that the means of independent samples (draw, ...) are within 5 standard errors of what is expected.

    The two-sided chance of a false alarm is 6e-7 an entry. ``resolution`` bounds the 5 standard errors, as a share
    of the largest expected magnitude, so that noise cannot hide a wrong answer.
    """

    def check(samples: torch.Tensor, expected: torch.Tensor | float, *, resolution: float) -> None:
        expected = torch.as_tensor(expected, dtype=samples.dtype)
        errors = 5 * samples.std(0) / len(samples) ** 0.5
        assert errors.max() <= resolution * expected.abs().max(), "too few draws to tell right from wrong"
        assert ((samples.mean(0) - expected).abs() <= errors + 1e-6 * expected.abs()).all(), (
            samples.mean(0),
            expected,
            errors,
        )

    return check


type Python = Callable[[Path, str], subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def fresh() -> Python:
    """``python -c``, a script by its text, in a folder: its exit code and what it said."""

    def run(cwd: Path, script: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def smaller() -> Callable[[str], str]:
    """A script of a document as the tests run it."""

    def shrunk(script: str) -> str:
        for pattern, replacement in SMALLER.items():
            script = re.sub(pattern, replacement, script)
        return script

    return shrunk


PRELOADED = [  # what takes seconds to import, none of our jobs
    "experiments.evaluation",
    "hydra.main",
    "lightning_fabric",
    "matplotlib.backends.backend_agg",
    "sklearn.ensemble",
    "tensorboard.summary.writer.event_file_writer",
    "torch._dynamo",
    "zarr",
]
FORKED = """
import os, sys
os.chdir({cwd!r})
for number, path in enumerate({said!r}, 1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
sys.path.insert(0, "")
"""


@pytest.fixture(scope="session")
def forked() -> Python:
    """As ``fresh``, in a process of its own that has these imports behind it, and nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)

    def run(cwd: Path, script: str) -> subprocess.CompletedProcess:
        with tempfile.TemporaryDirectory() as folder:
            said = [f"{folder}/stdout", f"{folder}/stderr"]
            code = FORKED.format(cwd=str(cwd), said=said) + script
            process = context.Process(target=exec, args=(code, {"__name__": "__main__"}))
            process.start()
            process.join()
            return subprocess.CompletedProcess(["python"], process.exitcode, *(Path(path).read_text() for path in said))

    return run
