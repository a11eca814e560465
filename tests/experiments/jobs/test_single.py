"""The main job's pages: what they are called, and how long one waits for them."""

import time
from types import SimpleNamespace

import hydra
import pytest
from torch import nn

from experiments.assemble import assemble
from experiments.evaluation import evaluate
from experiments.jobs.single import _title, write_pages
from guides import ARDGuide, InverseAutoregressiveGuide, MeanFieldNormal
from ppvae.priors import ARDPrior, NormalGammaPrior
from ppvae.svi import fit

SECONDS = 20  # of a processor


@pytest.mark.parametrize(
    ("prior", "guide", "name", "title"),
    [
        (NormalGammaPrior, MeanFieldNormal, None, "Sprites: normal gamma prior, mean field normal guide, seed 3"),
        (ARDPrior, ARDGuide, "a_run", "a run. Sprites: ARD prior, ARD guide, seed 3"),
        (None, InverseAutoregressiveGuide, None, "Sprites: inverse autoregressive guide, seed 3"),
    ],
)
def test_a_title_tells_data_prior_and_guide(prior, guide, name, title):
    model = nn.Identity() if prior is None else SimpleNamespace(prior=prior.__new__(prior))
    data = SimpleNamespace(description="sprites, 1800 images 3×64×64, 8-bit")
    parts = SimpleNamespace(data=data, model=model, guide=guide.__new__(guide))
    assert _title(parts, SimpleNamespace(name=name, seed=3)) == title


@pytest.mark.long
def test_the_pages_of_the_main_job_are_written_while_one_waits(tmp_path):
    """As it is configured, but for fewer images: of those that are looked at there are as many."""
    configuration = hydra.compose("config", ["data.size=1200"])
    parts = assemble(configuration)
    options = {"epochs": 1, "validation": parts.validation, "seed": 0, "compile": False, "progress": False}
    history = fit(parts.model, parts.guide, parts.data, parts.objective, **options)
    evaluation = evaluate(parts, configuration)
    began = time.process_time()
    write_pages(parts, history, evaluation, configuration, tmp_path)
    assert time.process_time() - began < SECONDS
