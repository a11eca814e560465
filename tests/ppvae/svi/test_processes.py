"""Two processes with half a batch each are one with the whole: every objective, to the last digits that sums leave.

The noise of the pairs here depends on the image alone, and SGD, unlike Adam, forgives no factor in a gradient. Run by
torchrun, this file is one of the processes.
"""

import math
import os
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

from ppvae import fit
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.objectives import (
    Annealed,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    SoftFreeBits,
    TotalCorrelation,
)
from ppvae.svi import Patience, Recipe

SHAPE, STEPS, BATCH, IMAGES = (1, 4, 4), 20, 8, 32
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
    """A normal guide of ``z`` with such draws."""

    def __init__(self, event: tuple[int, ...], *, scored: bool) -> None:
        super().__init__()
        self.event, self.scored = event, scored
        self.encoder = MLPEncoder(SHAPE, (8,))
        self.loc, self.log_scale = (nn.Linear(8, math.prod(event)) for _ in range(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features, shape = self.encoder(images), (len(images), *self.event)
        noise = 50 * images.flatten(1)[:, : math.prod(self.event)].reshape(shape)
        loc, scale = 4 * self.loc(features).reshape(shape), self.log_scale(features).reshape(shape).exp()
        with pyro.plate("image", len(images), dim=-1):
            q = Fixed(loc, scale, noise, scored=self.scored).to_event(len(self.event))
            return pyro.sample("z", q, infer={"event_dims": _dims(self.event)})


class Model(nn.Module):
    """A standard normal prior of latents in any shape."""

    def __init__(self, event: tuple[int, ...], scale_mode: str) -> None:
        super().__init__()
        self.event = event
        decoder = MLPDecoder(math.prod(event), SHAPE, (8,))
        self.likelihood = NormalLikelihood(decoder, 0.5, scale_mode=scale_mode)

    def forward(self, images: torch.Tensor) -> None:
        prior = dist.Normal(torch.zeros(self.event, dtype=images.dtype), 1.0).to_event(len(self.event))
        with pyro.plate("image", images.shape[-4], dim=-1):
            z = pyro.sample("z", prior, infer={"event_dims": _dims(self.event)})
            pyro.sample("x", self.likelihood(z.flatten(-len(self.event))), obs=images)


def _dims(event: tuple[int, ...]) -> list[str]:
    return ["latent"] if len(event) == 1 else ["map", "row", "column"]


def trained(name: str, directory: Path | None = None) -> dict[str, torch.Tensor]:
    """What one of the trainings ends with: losses, norms of gradients, parameters and buffers."""
    options = {"event": (4,), "scored": False, "scale_mode": "fixed", "execution": "eager", "recipe": {}}
    options = options | {"validation": None} | TRAININGS[name]
    torch.manual_seed(0)
    model = Model(options["event"], options["scale_mode"]).double()
    guide = Guide(options["event"], scored=options["scored"]).double()
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
        progress=False,
    )
    assert history.execution == options["execution"]
    found = {name: torch.as_tensor(history[name].values) for name in history.data_vars if name not in SPEED}
    states = {
        f"{i}.{name}": value for i, part in enumerate((model, guide)) for name, value in part.state_dict().items()
    }
    return found | states


SPEED = ("seconds", "images_per_second", "learning_rate")


def torchrun(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *arguments]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=settings, check=False)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> list[dict[str, dict[str, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("processes")
    done = torchrun(__file__, str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_get_the_numbers_of_one(of_two, name, tmp_path):
    alone = trained(name, tmp_path / "run")
    for found in of_two:
        assert found[name].keys() == alone.keys()
        for key, value in alone.items():
            assert torch.allclose(found[name][key], value, rtol=1e-8, atol=1e-10, equal_nan=True), key


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {name: trained(name, Path(tempfile.mkdtemp(dir=sys.argv[1])) / "run") for name in TRAININGS}
    torch.save(found, Path(sys.argv[1]) / f"{os.environ['RANK']}.pt")
