"""Users' own pairs through the whole main job, and what is wrong with them said before any training."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from omegaconf import DictConfig

from experiments.assemble import assemble
from experiments.evaluation import Evaluation
from experiments.jobs.single import run, write_pages
from experiments.rehearsal import rehearse
from ppvae import VAE, Program, UserError, read_posterior
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder

pytestmark = pytest.mark.usefixtures("rehearsed", "drawn")

PAIRS = '''
"""A user's own priors, guides and likelihoods."""

import pyro
import pyro.distributions as dist
import torch
from ppvae import Program

SITES = {"style": (2,), "map_1": (2, 1, 3)}
DIMS = {"style": ["stroke"], "map_1": ["channel_1", "row_1", "column_1"]}


class TwoSites(torch.nn.Module):
    """A vector and feature maps, returned side by side."""

    latents = 8

    def __init__(self, latents):
        super().__init__()

    def forward(self):
        values = []
        for name, shape in SITES.items():
            prior = dist.Normal(torch.zeros(shape), 1.0).to_event(len(shape))
            values.append(pyro.sample(name, prior, infer={"event_dims": DIMS[name]}))
        return torch.cat([values[0], values[1].flatten(-3)], -1)


class TwoVectors(torch.nn.Module):
    latents = 5

    def __init__(self, latents):
        super().__init__()

    def forward(self):
        sites = [("z_1", 2, "latent_1"), ("z_2", 3, "latent_2")]
        drawn = [
            pyro.sample(name, dist.Normal(torch.zeros(n), 1.0).to_event(1), infer={"event_dims": [dim]})
            for name, n, dim in sites
        ]
        return torch.cat(drawn, -1)


class TwoSitesGuide(Program):
    def __init__(self, encoder, latents):
        super().__init__()
        self.encoder, self.loc = encoder, torch.nn.Linear(encoder.features, 8)

    def forward(self, images):
        loc = self.loc(self.encoder(images))
        with pyro.plate("image", images.shape[-4], dim=-1):
            for name, part in zip(SITES, loc.split([2, 6], -1)):
                q = dist.Normal(part.unflatten(-1, SITES[name]), 0.5).to_event(len(SITES[name]))
                pyro.sample(name, q, infer={"event_dims": DIMS[name]})


class TwoVectorsGuide(Program):
    def __init__(self, encoder, latents):
        super().__init__()
        self.encoder, self.loc = encoder, torch.nn.Linear(encoder.features, 5)

    def forward(self, images):
        first, second = self.loc(self.encoder(images)).split([2, 3], -1)
        with pyro.plate("image", images.shape[-4], dim=-1):
            pyro.sample("z_1", dist.Normal(first, 0.5).to_event(1), infer={"event_dims": ["latent_1"]})
            pyro.sample("z_2", dist.Normal(second, 0.5).to_event(1), infer={"event_dims": ["latent_2"]})


class Nameless(dist.Normal):
    @property
    def mean(self):
        raise NotImplementedError


class WithoutMean(torch.nn.Module):
    def __init__(self, decoder, **_settings):
        super().__init__()
        self.decoder = decoder

    def forward(self, z):
        return Nameless(self.decoder(z), 0.1).to_event(3)


class Undrawn(Nameless):
    def sample(self, sample_shape=()):
        raise TypeError("nobody wrote a sampler")


class Failing(WithoutMean):
    """What only shows when the images are redrawn."""

    def forward(self, z):
        return Undrawn(self.decoder(z), 0.1).to_event(3)
'''
SMALL = [
    "network=mlp",
    "network.encoder.hidden=[8]",
    "network.decoder.hidden=[8]",
    "prior=normal",
    "guide=mean_field",
    "trainer.epochs=1",
    "trainer.batch_size=12",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
    "posterior.images=24",
    "posterior.draws=2",
    "posterior.ablation_images=8",
    "diagnosis.images=6",
    "diagnosis.draws=20",
    "diagnosis.simulations=20",
]
TWO_VECTORS = ["prior._target_=user_pairs.TwoVectors", "guide._target_=user_pairs.TwoVectorsGuide", "latents=5"]
VECTOR_AND_MAPS = ["prior._target_=user_pairs.TwoSites", "guide._target_=user_pairs.TwoSitesGuide", "latents=8"]
WITHOUT_MEAN = ["likelihood._target_=user_pairs.WithoutMean", "latents=3"]


@pytest.fixture
def archive(tmp_path, monkeypatch) -> list[str]:
    """Overrides for twenty-four grey images of 6 × 6 pixels with three labels; the users' pairs can be imported."""
    images = np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(24) % 3)
    (tmp_path / "user_pairs.py").write_text(PAIRS)
    monkeypatch.syspath_prepend(tmp_path)
    return ["data=npz", f"data.path={tmp_path / 'images.npz'}"]


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", [*SMALL, *overrides])


def shown_pages(directory: Path, *overrides: str) -> tuple[Evaluation, str]:
    """What is measured on two images, and the report about it."""
    configuration, seen = composed(*overrides), []

    def follow(parts, history, evaluation, configuration, _, *, dpi):
        write_pages(parts, history, evaluation, configuration, directory, dpi=dpi)
        seen.append(evaluation)

    rehearse(assemble(configuration), configuration, follow)
    return seen[0], (directory / "report.html").read_text()


def test_two_vectors_go_through_the_main_job(archive, tmp_path):
    assert run(composed(*archive, *TWO_VECTORS), tmp_path / "run") == tmp_path / "run" / "report.html"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    each = {f"{name}_{site}" for name in ("traversals", "informative", "kl", "cards") for site in ("z_1", "z_2")}
    assert each | {"reconstructions", "covariances", "rate_distortion", "importance"} <= figures
    latents = pd.read_csv(tmp_path / "run" / "latents.csv", index_col=["site", "latent"])
    assert latents.index.tolist() == [("z_1", 0), ("z_1", 1), ("z_2", 0), ("z_2", 1), ("z_2", 2)]
    assert metrics["informative_active_units"] == latents["active_units"].sum()
    stats = read_posterior(tmp_path / "run" / "posterior.zarr")["sample_stats"]
    assert latents.loc["z_2", "kl"].tolist() == pytest.approx(stats["kl_z_2"].mean("image").values.tolist(), rel=1e-5)
    rate = sum(stats[f"kl_{site}"].sum() for site in ("z_1", "z_2")) / stats.sizes["image"]
    assert metrics["rate"] == pytest.approx(float(rate), rel=1e-5)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Latents of z_1, sorted by KL (nats)" in page
    assert "z_2[2]" in page


def test_a_vector_and_feature_maps_are_shown_with_a_map_as_one_latent(archive, tmp_path):
    evaluation, page = shown_pages(tmp_path, *archive, *VECTOR_AND_MAPS)
    assert {name: found.sizes["latent"] for name, found in evaluation.latents.items()} == {"style": 2, "map_1": 2}
    maps = evaluation.tree["sample_stats"]["kl_map_1"].sum(["row_1", "column_1"]).mean("image")
    assert evaluation.latents["map_1"]["kl"].values.tolist() == pytest.approx(maps.values.tolist(), rel=1e-5)
    assert "moment_kl" not in evaluation.metrics  # of maps' means, no codes
    assert "entropy_mean" in evaluation.metrics
    assert "map_1[1]" in page


def test_a_likelihood_without_a_mean_is_shown_by_draws(archive, tmp_path):
    evaluation, page = shown_pages(tmp_path, *archive, *WITHOUT_MEAN)
    assert "all with the same noise" in page
    assert "reconstruction error" not in page
    assert "latents used, by KL" in page
    assert "informative_by_ablation" not in evaluation.metrics
    assert "worsening" in evaluation.latents["z"]
    assert "relative" not in evaluation.latents["z"]


def test_the_command_line_takes_a_users_pair(archive, tmp_path, command_line):
    done = command_line(tmp_path, *archive, *SMALL, *VECTOR_AND_MAPS, *WITHOUT_MEAN[:1])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("Report: ")


# What would fail, before any training


class ForOneDraw(torch.nn.Module):
    """A user's decoder that takes (image, latent) and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 36)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layer(z).reshape(len(z), 1, 6, 6)


class OneSite(torch.nn.Module):
    """A user's prior, or the head of a guide, that names its site and dims."""

    def __init__(self, name: str, dims: list[str]) -> None:
        super().__init__()
        self.name, self.dims = name, dims

    def forward(self, loc: torch.Tensor | float = 0.0) -> torch.Tensor:
        normal = dist.Normal(torch.zeros(3) + loc, 1.0).to_event(1)
        return pyro.sample(self.name, normal, infer={"event_dims": self.dims})


class OneSiteGuide(Program):
    def __init__(self, site: OneSite) -> None:
        super().__init__()
        self.loc, self.site = torch.nn.Linear(36, 3), site

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", len(images), dim=-1):
            return self.site(self.loc(images.flatten(1)))


@pytest.mark.parametrize(("name", "dims"), [("w", ["latent"]), ("z", ["code"])])
def test_a_site_of_any_name_is_measured_and_shown(archive, name, dims):
    configuration = composed(*archive, "latents=3")
    model = VAE(OneSite(name, dims), NormalLikelihood(MLPDecoder(3, (1, 6, 6), (4,))))
    parts = replace(assemble(configuration), model=model, guide=OneSiteGuide(OneSite(name, dims)))
    rehearse(parts, configuration, write_pages)


def test_a_pair_that_cannot_be_measured_ends_in_one_line(archive):
    configuration = composed(*archive, "latents=3")
    parts = assemble(configuration)
    parts.model.likelihood.decoder = ForOneDraw()
    with pytest.raises(UserError, match=r"plate of draws.*leading dims") as error:
        rehearse(parts, configuration)
    assert "\n" not in str(error.value)


def test_what_fails_after_a_training_fails_before_it(archive, tmp_path):
    match = r"what follows the training would fail.*TypeError in sample, user_pairs.py:.*nobody wrote"
    with pytest.raises(UserError, match=match) as error:
        run(composed(*archive, "likelihood._target_=user_pairs.Failing", "latents=3"), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_a_rehearsal_leaves_no_trace(archive, caplog):
    configuration = composed(*archive, "latents=3")
    parts, before = assemble(configuration), copy.deepcopy(configuration)
    state = {name: value.clone() for name, value in {**parts.model.state_dict(), **parts.guide.state_dict()}.items()}
    torch.manual_seed(5)
    random = torch.get_rng_state()
    rehearse(parts, configuration, write_pages)
    now = {**parts.model.state_dict(), **parts.guide.state_dict()}
    assert all(torch.equal(value, now[name]) for name, value in state.items())
    assert torch.equal(torch.get_rng_state(), random)
    assert configuration == before
    assert not caplog.records
    assert parts.model.training
