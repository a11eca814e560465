"""Importing changes nothing but sys.modules."""

import json
import pkgutil
import subprocess
import sys

import experiments
import guides
import ppvae

PROBE = """
import json, logging, random, sys, warnings
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
assert not {"matplotlib.pyplot", "tensorboard", "hydra"} & set(sys.modules)  # left to those who want figures and logs
import sklearn.linear_model  # draws from Python's random numbers for a temporary name: not ours either
before_rest = state()
import MODULES
after = state()
changed = lambda first, second: [name for name in first if first[name] != second[name]]
print(json.dumps([changed(before, after_library), changed(before_rest, after)]))
"""


def test_importing_changes_nothing(tmp_path):
    modules = [
        module.name
        for package in (ppvae, guides, experiments)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    assert {"ppvae.plots.traversals", "guides.normal_gamma", "experiments.__main__"} <= set(modules)
    code = PROBE.replace("MODULES", ", ".join(modules))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[], []]
    assert done.stdout.count("\n") == 1  # nothing is printed, logged or written
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())
