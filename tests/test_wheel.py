"""The product as installed: the wheel where there is no checkout, its command in an empty folder, its types."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import ppvae

ROOT = Path(__file__).parents[1]
CONF = ROOT / "experiments" / "conf"
TINY = [
    *("data.size=64", "data.image_size=32", "network=mlp", "latents=2", "prior=normal", "guide=mean_field"),
    *("trainer.epochs=1", "trainer.batch_size=32", "trainer.compile=false", "trainer.progress=false"),
    *("trainer.accelerator=cpu", "posterior.images=32", "posterior.draws=2", "posterior.ablation_images=32"),
    *("diagnosis.images=0", "information.images=0", "codes.images=0"),
]
SCRIPT = '''"""A pair, an objective, a training and its posterior."""

import xarray as xr

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, check_pair, fit, from_pyro_svi
from ppvae.datasets import ImageDataset, sprites
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior


def trained(data: ImageDataset, latents: int) -> xr.DataTree:
    model = VAE(NormalPrior(latents), NormalLikelihood(MLPDecoder(latents, data.image_shape), scale=0.1))
    guide = MeanFieldNormal(MLPEncoder(data.image_shape), latents)
    check_pair(model, guide, data.images[:8])
    history: xr.Dataset = fit(model, guide, data, BetaELBO(beta=4.0), epochs=1, compile=False)
    print(float(history.loss[-1]))
    return from_pyro_svi(model, guide, data.images[:8], num_samples=4)


print(trained(sprites(size=64, seed=0, image_size=32), latents=3).posterior.sizes)
'''
WRONG = """import ppvae
from guides import MeanFieldNormal
from ppvae.networks import MLPEncoder

ppvae.BetaELBO(beta="4")
ppvae.fit(ppvae.Program(), ppvae.Program(), ppvae.datasets.sprites(), epochs="1")
MeanFieldNormal(MLPEncoder((1, 8, 8)), latents="3")
ppvae.no_such_name
number: int = ppvae.__version__
ppvae.load("runs/cells").encoded("new")
"""
LINES = [5, 6, 7, 8, 9, 10]  # of WRONG, each with a mistake
UNTYPED = """[mypy]
[mypy-torch.*,torchvision.*,pyro.*,lightning_fabric.*,sklearn.*,scipy.*,pandas.*,matplotlib.*,dask.*,zarr.*,arviz*.*]
follow_imports = skip
"""

type Run = Callable[..., subprocess.CompletedProcess]


def said(command: list[object], cwd: Path) -> subprocess.CompletedProcess:
    """A command's end, in a process that does not see this checkout."""
    seen = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=seen | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheel) -> Path:
    """The folder of the commands of an environment that holds the wheel, and sees the dependencies installed here.

    They are seen by a path, whose own .pth files, and so the checkout's, have no effect.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    here = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    purelib = said([commands / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    Path(purelib.stdout.strip(), "dependencies.pth").write_text("\n".join(here))
    done = said([commands / "python", "-m", "installer", wheel], folder)
    assert done.returncode == 0, done.stderr
    return commands


@pytest.fixture
def command(environment, tmp_path) -> Run:
    """``ppvae WORDS`` in an empty folder."""
    return lambda *words: said([environment / "ppvae", *words], tmp_path)


# What it holds


def test_the_wheel_holds_the_packages_and_every_configuration(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {
        *("ppvae", "guides", "ppvae_experiments"),
        f"ppvae-{ppvae.__version__}.dist-info",
    }
    assert {f"ppvae_experiments/conf/{path.relative_to(CONF)}" for path in CONF.rglob("*.yaml")} <= names
    assert {"ppvae/py.typed", "guides/py.typed", "ppvae/__init__.pyi", "ppvae_experiments/report.html.j2"} <= names
    assert not [name for name in names if re.match(r"ppvae_experiments/(benchmarks|results)/|.*\.pyc$", name)]


def test_the_environment_sees_the_wheel_and_not_the_checkout(environment, tmp_path):
    script = (
        "import guides, ppvae; from importlib.util import find_spec; from importlib.metadata import version;"
        "print(ppvae.__file__, guides.__file__, find_spec('ppvae_experiments').origin, sep='\\n');"
        "print(ppvae.__version__, version('ppvae'), find_spec('experiments'))"
    )
    done = said([environment / "python", "-c", script], tmp_path)
    assert done.returncode == 0, done.stderr
    *places, versions = done.stdout.splitlines()
    assert all(Path(place).is_relative_to(environment.parent) for place in places), places
    assert versions == f"{ppvae.__version__} {ppvae.__version__} None"


# The command


def test_the_command_says_what_there_is(command, tmp_path):
    helped, listed = command("--help"), command("list", "model")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "ppvae train prior=normal" in helped.stdout
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "  vae " in listed.stdout
    wrong = command("list", "priro")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: there is no group or choice priro; did you mean prior?\n"
    assert not list(tmp_path.iterdir())


def test_the_command_trains_in_an_empty_folder(command, tmp_path):
    done = command("train", *TINY)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (run,) = (tmp_path / "runs" / "normal_sprites").iterdir()
    assert (run / "report.html").is_file()
    record = json.loads((run / "run.json").read_text())
    assert record["command"].startswith("ppvae train data.size=64")
    assert (record["state"], record["ppvae"], record["commit"]) == ("finished", ppvae.__version__, "unknown")
    assert "ppvae_experiments" not in (run / "config.yaml").read_text()  # a checkout reads it too


OTHER = """
import hydra

@hydra.main(version_base="1.3", config_path=None, config_name=None)
def application(configuration):
    print(configuration.prior._target_)

application()
"""


def test_another_hydra_application_finds_the_groups(environment, tmp_path):
    (tmp_path / "application.py").write_text(OTHER)
    words = ["+prior=normal", "hydra.searchpath=[pkg://ppvae_experiments.conf]", "hydra.run.dir=."]
    done = said([environment / "python", "application.py", *words], tmp_path)
    assert (done.stdout, done.stderr) == ("ppvae.priors.NormalPrior\n", "")


@pytest.mark.long
def test_the_command_repeats_a_checkout_s_run(command, tmp_path):
    first = [sys.executable, "-m", "experiments", *TINY, "hydra.run.dir=first"]
    subprocess.run(first, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    done = command("train", "rerun=first")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("The same numbers.")


@pytest.mark.long
def test_the_command_sweeps_in_processes_of_its_own(command, tmp_path):
    done = command("train", "--multirun", *TINY, "objective.beta=1,4", "workers=2")
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "runs" / "multirun").iterdir()
    assert (sweep / "sweep.csv").read_text().count(",done,") == 2


@pytest.mark.long
def test_the_demo_runs_from_the_wheel(command, tmp_path):
    small = ["data.size=128", "trainer.epochs=1", "trainer.compile=false", "posterior.images=64", "diagnosis.images=0"]
    models = ["~models.selected", "models.normal_gamma=['trainer.epochs=1']"]
    done = command("demo", *small, *models)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs" / "demo").glob("*/report.html"))) == 1


# Its types


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> Path:
    """A user's script, and one with a mistake of type in each of some lines."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "script.py").write_text(SCRIPT)
    (folder / "wrong.py").write_text(WRONG)
    (folder / "mypy.ini").write_text(UNTYPED)
    return folder


def mypy(environment: Path, scripts: Path, *options: str) -> subprocess.CompletedProcess:
    return said([environment / "python", "-m", "mypy", *options, "script.py", "wrong.py"], scripts)


def lines_told(done: subprocess.CompletedProcess, error: str) -> set[tuple[str, int]]:
    return {(Path(path).name, int(line)) for path, line in re.findall(error, done.stdout, flags=re.MULTILINE)}


def test_mypy_passes_a_user_s_script_and_tells_mistakes(environment, scripts):
    """Without the types of torch and the like, which take a minute to read."""
    done = mypy(environment, scripts, "--config-file", "mypy.ini")
    assert lines_told(done, r"^(.*\.py):(\d+): error:") == {("wrong.py", line) for line in LINES}, done.stdout


@pytest.mark.long
def test_mypy_passes_it_with_the_types_of_everything(environment, scripts):
    done = mypy(environment, scripts, "--strict")
    assert lines_told(done, r"^(.*\.py):(\d+): error:") == {("wrong.py", line) for line in LINES}, done.stdout


@pytest.mark.long
@pytest.mark.skipif(shutil.which("node") is None, reason="pyright runs on node")
def test_pyright_passes_a_user_s_script_and_tells_mistakes(environment, scripts):
    python = environment / "python"
    done = said([python, "-m", "pyright", "--pythonpath", python, "script.py", "wrong.py"], scripts)
    assert lines_told(done, r"^\s+(.*\.py):(\d+):\d+ - error:") == {("wrong.py", line) for line in LINES}, done.stdout
