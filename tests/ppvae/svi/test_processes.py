"""Two processes with half a batch each are one with the whole: every objective, to the last digits that sums leave.

The noise of the pairs here depends on the image alone, and SGD, unlike Adam, forgives no factor in a gradient. Run as a
script, this file has torchrun's launcher fork two processes off one that has all imports behind it.
"""

import contextlib
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ppvae import fit
from ppvae.errors import Interrupted, UserError
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.objectives import (
    Annealed,
    Balanced,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    Penalised,
    SoftFreeBits,
    TotalCorrelation,
)
from ppvae.svi import Patience, Recipe
from ppvae.svi.batches import Batches

SHAPE, STEPS, BATCH, IMAGES = (1, 4, 4), 20, 8, 32
LATE = 10  # passes of the guide, checks among them: in the middle of the second epoch
NATS = 0.3  # of KL: half batches are on both sides of it
FREE = FreeBits(nats=NATS)
SGD = {"optimizer": "sgd", "learning_rate": 2e-3}

TRAININGS: dict[str, dict[str, Any]] = {
    "beta": {"objective": BetaELBO(beta=2.0)},
    "capacity": {"objective": Capacity(gamma=3.0, stop=0.7, steps=15)},
    "capacity of each image": {"objective": Capacity(gamma=3.0, stop=0.7, steps=15, per_image=True)},
    "free bits": {"objective": FREE},
    "free bits of maps": {"objective": FreeBits(nats=2 * NATS, group="map"), "event": (2, 2, 1)},
    "free bits of a site": {"objective": FreeBits(nats=0.7, group="site")},
    "free bits of each image": {"objective": FreeBits(nats=NATS, per_image=True)},
    "annealed free bits": {"objective": Annealed(objective=FREE, steps=15)},
    "balanced": {"objective": Annealed(objective=Balanced(), steps=15), "sites": ("z_1", "z_2")},
    "soft free bits": {"objective": SoftFreeBits(nats=0.6, slack=0.02)},
    "importance weighted": {"objective": ImportanceWeighted(samples=3)},
    "doubly reparameterised": {"objective": ImportanceWeighted(samples=3, doubly_reparameterised=True)},
    "total correlation": {"objective": TotalCorrelation()},
    "optimal scale": {"objective": BetaELBO(), "scale_mode": "optimal"},
    "score function": {"objective": BetaELBO(), "scored": True},
    "score function and capacity": {"objective": Capacity(gamma=3.0, stop=0.7, steps=15), "scored": True},
    "score function and free bits": {"objective": FREE, "scored": True},
    "score function of draws": {"objective": ImportanceWeighted(samples=3), "scored": True},
    "captured free bits": {"objective": FREE, "execution": "captured"},
    "captured total correlation": {"objective": TotalCorrelation(), "execution": "captured"},
    "captured, balanced and penalised": {
        "objective": Annealed(objective=Penalised(objective=Balanced(), spectral=0.5), steps=15),
        "sites": ("z_1", "z_2"),
        "convolution": True,
        "execution": "captured",
    },
    "captured with an idle parameter": {"objective": BetaELBO(), "idle": True, "execution": "captured"},
    "captured soft free bits, optimal scale": {
        "objective": SoftFreeBits(nats=0.6, slack=0.02),
        "scale_mode": "optimal",
        "execution": "captured",
    },
    "parts of a batch": {"objective": FREE, "recipe": {"accumulate": 2}},
    "best epoch of an average": {
        "objective": FREE,
        "recipe": {"average": 0.9, "clip_norm": 1.0, "stopping": Patience()},
        "validation": 0.25,
    },
}
ALIKE = (  # whose terms, ways of running and recipes others have as well
    "beta",
    "capacity",
    "free bits",
    "free bits of maps",
    "free bits of a site",
    "free bits of each image",
    "annealed free bits",
    "doubly reparameterised",
    "score function",
    "score function and free bits",
    "captured free bits",
    "captured total correlation",
    "captured with an idle parameter",
)


class Fixed(dist.Normal):
    """A normal whose draws ``noise`` (image, ...) fixes, others for each of several draws of an image."""

    def __init__(self, loc, scale, noise, *, scored=False):
        self.noise, self.scored = noise, scored
        super().__init__(loc, scale, validate_args=False)

    has_rsample = property(lambda self: not self.scored)

    def expand(self, batch_shape, _instance=None):
        return Fixed(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.noise, scored=self.scored)

    def rsample(self, sample_shape=()):
        assert not sample_shape
        draws = self.loc.shape[0] if self.loc.dim() > self.noise.dim() else 1
        angles = self.noise + torch.arange(draws, dtype=self.noise.dtype).reshape(-1, *[1] * self.noise.dim())
        return self.loc + self.scale * math.sqrt(2) * angles.reshape(self.loc.shape).sin()

    def sample(self, sample_shape=()):
        return self.rsample(sample_shape).detach()


class Guide(nn.Module):
    """A normal guide of ``z``, or of several sites with a share of the latents each, with such draws."""

    def __init__(self, event: tuple[int, ...], sites: tuple[str, ...], *, scored: bool) -> None:
        super().__init__()
        self.event, self.sites, self.scored = event, sites, scored
        self.encoder = MLPEncoder(SHAPE, (8,))
        self.loc, self.log_scale = (nn.Linear(8, math.prod(event)) for _ in range(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features, shape = self.encoder(images), (len(images), *self.event)
        noise = 50 * images.flatten(1)[:, : math.prod(self.event)].reshape(shape)
        loc, scale = 4 * self.loc(features).reshape(shape), self.log_scale(features).reshape(shape).exp()
        shares = zip(self.sites, *(one.chunk(len(self.sites), 1) for one in (loc, scale, noise)), strict=True)
        with pyro.plate("image", len(images), dim=-1):
            for site, *share in shares:
                q = Fixed(*share, scored=self.scored).to_event(len(self.event))
                pyro.sample(site, q, infer={"event_dims": _dims(self.event)})


class Model(nn.Module):
    """A standard normal prior of latents in any shape."""

    def __init__(self, event: tuple[int, ...], sites: tuple[str, ...], scale_mode: str) -> None:
        super().__init__()
        self.event, self.sites = event, sites
        decoder = MLPDecoder(math.prod(event), SHAPE, (8,))
        self.likelihood = NormalLikelihood(decoder, 0.5, scale_mode=scale_mode)

    def forward(self, images: torch.Tensor) -> None:
        rank, shares = len(self.event), torch.zeros(self.event, dtype=images.dtype).chunk(len(self.sites))
        priors = [dist.Normal(share, 1.0).to_event(rank) for share in shares]
        infer = {"event_dims": _dims(self.event)}
        with pyro.plate("image", images.shape[-4], dim=-1):
            drawn = [pyro.sample(site, prior, infer=infer) for site, prior in zip(self.sites, priors, strict=True)]
            z = torch.cat(drawn, -rank).flatten(-rank)
            pyro.sample("x", self.likelihood(z), obs=images)


def _dims(event: tuple[int, ...]) -> list[str]:
    return ["latent"] if len(event) == 1 else ["map", "row", "column"]


def trained(
    name: str, directory: Path | None = None, *, resume: bool = False, signal_at: int | None = None
) -> dict[str, torch.Tensor]:
    """What one of the trainings ends with: losses, norms of gradients, parameters and buffers.

    ``signal_at``: this process gets a SIGTERM in that pass of its guide.
    """
    options = {"event": (4,), "scored": False, "scale_mode": "fixed", "execution": "eager", "recipe": {}}
    options = options | {"validation": None, "idle": False, "sites": ("z",), "convolution": False} | TRAININGS[name]
    torch.manual_seed(0)
    model = Model(options["event"], options["sites"], options["scale_mode"]).double()
    guide = Guide(options["event"], options["sites"], scored=options["scored"]).double()
    if options["idle"]:
        guide.left_out = nn.Linear(2, 2).double()
    if options["convolution"]:
        guide.encoder = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), guide.encoder).double()
    if signal_at is not None:
        _ring(guide, signal_at)
    images = torch.rand(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    history = fit(
        model,
        guide,
        images,
        options["objective"],
        epochs=STEPS * BATCH // IMAGES,
        batch_size=BATCH,
        recipe=Recipe(**SGD | options["recipe"]),
        validation=options["validation"],
        execution=options["execution"],
        accelerator="cpu",
        directory=directory,
        resume=resume,
        progress=False,
    )
    assert history.execution == options["execution"]
    found = {name: torch.as_tensor(history[name].values) for name in history.data_vars if name not in SPEED}
    states = {
        f"{i}.{name}": value for i, part in enumerate((model, guide)) for name, value in part.state_dict().items()
    }
    return found | states


def _ring(guide: Guide, number: int) -> None:
    passes = itertools.count()
    guide.register_forward_pre_hook(lambda *_: os.kill(os.getpid(), signal.SIGTERM) if next(passes) == number else None)


SPEED = ("seconds", "images_per_second", "learning_rate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def of_two(folder, request) -> list[dict[str, Any]]:
    """By process how the trainings that this session asks for ended, and those that something befalls."""
    here = [item for item in request.session.items if item.path == Path(__file__)]
    names = [item.callspec.params["name"] for item in here if hasattr(item, "callspec")]
    command = [sys.executable, __file__, str(folder), *names]
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=settings, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in ALIKE else name for name in TRAININGS]
)
def test_two_processes_get_the_numbers_of_one(of_two, name, tmp_path):
    alone = trained(name, tmp_path / "run")
    for found in of_two:
        assert found[name].keys() == alone.keys()
        for key, value in alone.items():
            assert torch.allclose(found[name][key], value, rtol=1e-8, atol=1e-10, equal_nan=True), key


def test_a_run_goes_on_in_another_number_of_processes(of_two, folder):
    """In the middle of an epoch; the noise is the image's here, so that the numbers are those of one whole run."""
    whole = trained("free bits")
    first, second = (found["signalled"] for found in of_two)
    assert first == second
    assert re.fullmatch(rf"143: interrupted after step . of epoch ., which {folder}.*; resume continues there", first)
    here = trained("free bits", folder / "of two", resume=True)
    for found in (here, *(each["resumed"] for each in of_two)):
        assert all(torch.allclose(found[key], value, rtol=1e-8, atol=1e-10) for key, value in whole.items())


def signalled(folder: Path) -> str:
    """What a training ends with, of which one process hears a signal."""
    try:
        trained("free bits", folder / "of two", signal_at=LATE if os.environ["RANK"] == "1" else None)
    except Interrupted as interrupted:
        return f"{interrupted.code}: {interrupted}"
    return "nothing"


def test_what_one_process_cannot_read_is_a_mistake_of_both(of_two):
    assert [found["unreadable"] for found in of_two] == ["image 7 is damaged"] * 2


def unreadable() -> str:
    """What a training ends with, of which one process meets a damaged image in its third batch."""
    batches, take = itertools.count(), Batches._take

    def damaged(self: Batches, index: torch.Tensor) -> torch.Tensor:
        if os.environ["RANK"] == "1" and next(batches) == 3:  # the first is rehearsed on
            raise UserError("image 7 is damaged")
        return take(self, index)

    Batches._take = damaged
    try:
        trained("beta")
    except UserError as error:
        return str(error)
    finally:
        Batches._take = take
    return "nothing"


def work(folder: Path, *names: str) -> None:
    """One of two processes."""
    found = {"signalled": signalled(folder), "unreadable": unreadable()}
    found["resumed"] = trained("free bits", folder / "of one", resume=True)
    found |= {name: trained(name, Path(tempfile.mkdtemp(dir=folder)) / "run") for name in names}
    torch.save(found, folder / f"{os.environ['RANK']}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with contextlib.suppress(Interrupted):
        trained("free bits", folder / "of one", signal_at=LATE)
    here = {"min_nodes": 1, "max_nodes": 1, "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "here"}
    elastic_launch(LaunchConfig(**here, nproc_per_node=2, start_method="fork"), work)(folder, *sys.argv[2:])
