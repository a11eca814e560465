"""Importing changes nothing but sys.modules, and loads only what the imported names need."""

import ast
import importlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import ppvae

PROBE = """
import importlib, json, logging, pkgutil, random, sys, warnings
import matplotlib, numpy, pyro, torch  # their own changes are not ours

def state():
    return {
        "torch random state": torch.get_rng_state().tolist(),
        "numpy random state": numpy.random.get_state()[1].tolist(),
        "python random state": hash(random.getstate()),
        "pyro settings": {k: str(v) for k, v in pyro.settings.get().items()},
        "pyro validation": pyro.poutine.util.is_validation_enabled(),
        "torch validation": torch.distributions.Distribution._validate_args,
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "root handlers": [str(handler) for handler in logging.getLogger().handlers],
        "root level": logging.getLogger().level,
        "parameters": list(pyro.get_param_store().keys()),
        "rcParams": {k: str(v) for k, v in dict.items(matplotlib.rcParams)},
        "numpy errors": numpy.geterr(),
        "numpy print": {k: str(v) for k, v in numpy.get_printoptions().items()},
        "recursion": sys.getrecursionlimit(),
    }

random.seed(1); numpy.random.seed(1); torch.manual_seed(1)
before = state()
import ppvae, guides
after_library = state()
import sklearn.linear_model  # draws from Python's random numbers for a temporary name: not ours either
before_rest = state()
import experiments
modules = [
    module.name
    for package in (ppvae, guides, experiments)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if BENCHMARKS or "benchmarks" not in module.name
]
for module in modules:
    importlib.import_module(module)
after = state()
changed = lambda first, second: [name for name in first if first[name] != second[name]]
print(json.dumps([changed(before, after_library), changed(before_rest, after), modules]))
"""


@pytest.mark.parametrize("benchmarks", [False, pytest.param(True, marks=pytest.mark.long)])
def test_importing_changes_nothing(benchmarks, tmp_path):
    code = PROBE.replace("BENCHMARKS", str(benchmarks))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *changes, modules = json.loads(done.stdout.splitlines()[-1])
    assert changes == [[], []]
    assert {"ppvae.plots.traversals", "guides.normal_gamma", "experiments.__main__"} <= set(modules)
    assert done.stdout.count("\n") == 1  # nothing is printed, logged or written
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


TRAINING = {  # the compiler, and what Fabric brings along
    "lightning_fabric",
    "sympy",
    "tensorboard",
    "torch._dynamo",
    "torch._inductor",
    "torch.fx.experimental.symbolic_shapes",
}
READING = {"arviz_plots", "arviz_stats", "dask", "matplotlib", "scipy.stats", "sklearn", "zarr"}
PIXELS = {"PIL", "torchvision"}
COMMAND_LINE = {"hydra", "jinja2", "omegaconf", "optuna"}
HEAVY = TRAINING | READING | PIXELS | COMMAND_LINE
FOUNDATIONS = {"arviz_base", "numpy", "pandas", "pyro", "scipy", "torch", "xarray"}
SCRIPT = """
from ppvae import (VAE, TwoViewVAE, Annealed, BetaELBO, Program, check_pair, elbo_surgery, examine, fit, from_pyro_svi,
    log_marginal, rank_simulations, record, redraw, transfer_style, two_codes, vary)
from ppvae.datasets import *
from ppvae.distributions import *
from ppvae.interventions import *
from ppvae.likelihoods import *
from ppvae.models import *
from ppvae.networks import *
from ppvae.objectives import *
from ppvae.priors import *
from ppvae.svi import *
from guides import *
"""


FORKS = """
import json, os, sys

def imported(code):
    told, tell = os.pipe()
    if os.fork() == 0:
        exec(code, {})
        with os.fdopen(tell, "w") as file:
            json.dump(sorted(sys.modules), file)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        return json.load(file)

bare, given = json.load(sys.stdin)
found = {name: imported(code) for name, code in bare.items()}
import arviz_base, numpy, pandas, scipy, torch, xarray
print(json.dumps(found | {name: imported(code) for name, code in {"foundations": "", **given}.items()}))
"""
ROOMS = {"import ppvae": "import ppvae, ppvae.diagnostics, ppvae.metrics, ppvae.plots, ppvae.posterior"}
NAMES = {
    "a script": SCRIPT,
    "storing": "from ppvae import write_posterior, read_posterior",
    "compare": "from ppvae import compare",
    "metrics": "from ppvae.metrics import *",
    "diagnostics": "from ppvae.diagnostics import *",
}


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """The modules that each of these imports, all but the first in a process that has the foundations without Pyro."""
    command = [sys.executable, "-c", FORKS]
    given = json.dumps([ROOMS, NAMES])
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {name: set(modules) for name, modules in json.loads(done.stdout).items()}
    assert (HEAVY | {"pyro"}) & found["foundations"] == set()
    return found


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("import ppvae", HEAVY | FOUNDATIONS),
        ("a script", HEAVY),
        ("storing", HEAVY - {"zarr"}),
        ("compare", (HEAVY | {"pyro"}) - {"arviz_stats", "scipy.stats"}),
        ("metrics", (HEAVY | {"pyro"}) - {"scipy.stats", "sklearn"}),
        ("diagnostics", (HEAVY | {"pyro"}) - {"scipy.stats"}),
    ],
)
def test_heavy_libraries_wait_until_they_are_used(imported, name, absent):
    assert "ppvae" in imported[name]
    assert absent & imported[name] == set()


def test_help_needs_no_heavy_library():
    command = [sys.executable, "-X", "importtime", "-m", "experiments", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ppvae" in modules
    assert ((HEAVY | FOUNDATIONS) - {"hydra", "omegaconf"}) & modules == set()


LAZY = ["ppvae", *(f"ppvae.{room}" for room in ("diagnostics", "examination", "metrics", "plots", "posterior"))]


@pytest.mark.parametrize("name", LAZY)
def test_lazy_names_are_those_that_type_checkers_see(name):
    package = importlib.import_module(name)
    stub = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text())
    listed = next(ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign))
    assert sorted(listed) == package.__all__ == dir(package)
    for public in package.__all__:
        assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018 - the access is the test


def test_lazy_names_are_pickled_by_where_they_are_defined():
    for thing in (ppvae.VAE, ppvae.BetaELBO, ppvae.fit, ppvae.metrics.mig_metric):
        assert pickle.loads(pickle.dumps(thing)) is thing
        assert thing.__module__ != "ppvae"
