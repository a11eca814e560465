"""Importing changes nothing but sys.modules."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import experiments
import guides
import ppvae

PROBE = """
import json, logging, random, sys, warnings
import matplotlib, numpy, torch, pyro  # their own changes are not ours
THEIRS

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
MODULES
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def imported(modules: str, cwd: Path, theirs: str = "") -> list[str]:
    """What changed when ``modules`` were imported in a process of its own, after ``theirs``."""
    code = PROBE.replace("MODULES", modules).replace("THEIRS", theirs)
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1  # nothing is printed
    assert not list(cwd.iterdir())
    return json.loads(done.stdout)


def test_importing_the_library_changes_nothing_and_leaves_figures_and_logs_to_those_who_want_them(tmp_path):
    heavy = "assert not {'matplotlib.pyplot', 'tensorboard', 'hydra'} & set(sys.modules)"
    assert imported(f"import ppvae, guides; {heavy}", tmp_path) == []


def test_importing_every_module_changes_nothing(tmp_path):
    names = [
        module.name
        for package in (ppvae, guides, experiments)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    assert {"ppvae.plots.traversals", "guides.normal_gamma", "experiments.__main__"} <= set(names)
    theirs = "import sklearn.linear_model"  # draws from Python's random numbers for a temporary name
    assert imported(f"import {', '.join(names)}", tmp_path, theirs) == []
