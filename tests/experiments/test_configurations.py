"""Every configuration composes and is built, and every legal combination trains two steps."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

import experiments
from experiments.assemble import assemble
from ppvae import UserError, fit
from ppvae.datasets import ImageDataset
from ppvae.svi import Plateau

CONF = Path(experiments.__file__).parent / "conf"
TINY = ["data.size=24", "data.image_size=32", "latents=3", "trainer.compile=false", "trainer.progress=false"]
CHOICES = [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]
EXPERIMENTS = [choice for group, choice in CHOICES if group == "experiment"]
MATCHED = [("normal", "mean_field"), ("normal_gamma", "normal_gamma")]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()
    OmegaConf.clear_resolver("or")


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", [*TINY, *overrides])


@pytest.fixture
def dsprites_file(tmp_path) -> Path:
    """A small file of dSprites' format."""
    classes = np.array(list(itertools.product(*map(range, (1, 3, 2, 2, 2, 2)))), dtype=np.int64)
    images = np.random.default_rng(0).integers(0, 2, (len(classes), 64, 64), dtype=np.uint8)
    path = tmp_path / "dsprites.npz"
    np.savez_compressed(path, imgs=images, latents_classes=classes, latents_values=classes.astype(np.float64))
    return path


def test_every_group_has_choices():
    groups = {group for group, _ in CHOICES}
    assert groups == {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups >= {"data", "network", "prior", "likelihood", "guide", "objective", "trainer", "experiment"}


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=["=".join(pair) for pair in CHOICES])
def test_every_choice_composes_and_is_built(group, choice, dsprites_file):
    overrides = [f"{group}={choice}"]
    if (group, choice) == ("data", "dsprites"):
        configuration = hydra.compose("config", [*overrides, f"data.path={dsprites_file}"])
    else:
        configuration = composed(*overrides)
    assert callable(get_method(configuration.job))
    configuration.image_shape = [3, 32, 32]
    if group == "trainer":
        stopping = configuration.trainer.stopping
        assert stopping is None or isinstance(instantiate(stopping), Plateau)
    elif group == "network":
        for part in ("encoder", "decoder"):
            assert isinstance(instantiate(configuration.network[part], _convert_="all"), torch.nn.Module)
    elif group != "experiment":
        assert instantiate(configuration[group], _convert_="all") is not None


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_model_of_every_experiment_is_built(experiment):
    configuration = composed(f"experiment={experiment}")
    assert len(configuration.seeds) > 1
    for name, overrides in configuration.models.items():
        parts = assemble(composed(*overrides))
        assert parts.model.prior.latents == 3, name


def test_the_default_is_the_papers_ngvae():
    configuration = hydra.compose("config")
    assert configuration.latents == 15
    assert (configuration.prior.shape, configuration.prior["rate"]) == (8.25, 3.62)
    assert configuration.guide.informative == [3.65, 0.24]
    assert configuration.guide.uninformative == [902.0, 810.9]
    assert (configuration.trainer.batch_size, configuration.trainer.learning_rate) == (64, 1e-3)


@pytest.mark.parametrize("objective", ["mean_field", "trace"])
@pytest.mark.parametrize("likelihood", ["normal", "bernoulli"])
@pytest.mark.parametrize(("prior", "guide"), MATCHED)
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_every_legal_combination_trains_two_steps(network, prior, guide, likelihood, objective):
    groups = {"network": network, "prior": prior, "guide": guide, "likelihood": likelihood, "objective": objective}
    parts = assemble(composed(*(f"{group}={choice}" for group, choice in groups.items())))
    data = parts.data if likelihood == "normal" else ImageDataset(parts.data.images[:].round())
    before = {name: value.clone() for name, value in parts.guide.state_dict().items()}
    settings = {"epochs": 1, "batch_size": 12, "compile": False, "progress": False, "accelerator": "cpu"}
    history = fit(parts.model, parts.guide, data, parts.objective, stopping=parts.stopping, **settings)
    assert np.isfinite(history.loss).all()
    assert all(not torch.equal(before[name], value) for name, value in parts.guide.state_dict().items())


def test_the_catalogue_of_combinations_is_complete():
    """A new choice must enter the test above."""
    choices = {group: {choice for g, choice in CHOICES if g == group} for group, _ in CHOICES}
    assert choices["network"] == {"conv", "mlp"}
    assert choices["likelihood"] == {"normal", "bernoulli"}
    assert choices["objective"] == {"mean_field", "trace"}
    assert choices["prior"] == {prior for prior, _ in MATCHED}
    assert choices["guide"] == {guide for _, guide in MATCHED}
    assert choices["data"] == {"sprites", "dsprites"}


@pytest.mark.parametrize(("prior", "guide"), [("normal", "normal_gamma"), ("normal_gamma", "mean_field")])
def test_illegal_combinations_end_in_one_line(prior, guide):
    parts = assemble(composed(f"prior={prior}", f"guide={guide}", "network=mlp"))
    with pytest.raises(UserError, match="precision") as caught:
        fit(parts.model, parts.guide, parts.data, parts.objective, epochs=1, progress=False, compile=False)
    assert "\n" not in str(caught.value)


def test_networks_depend_on_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = assemble(composed("network=mlp", "seed=5"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(9)
    second, other = (assemble(composed("network=mlp", f"seed={seed}")) for seed in (5, 6))
    for part in ("model", "guide"):
        own, same, different = (dict(getattr(parts, part).named_parameters()) for parts in (first, second, other))
        assert all(torch.equal(own[name], same[name]) for name in own)
        assert any(not torch.equal(own[name], different[name]) for name in own)
    assert torch.equal(first.data.stored(), second.data.stored())


def test_the_stopping_rule_can_be_left_out():
    assert assemble(composed("network=mlp")).stopping.window == 5
    assert assemble(composed("network=mlp", "trainer.stopping=null")).stopping is None


@pytest.mark.parametrize("number", ["images", "draws", "ablation_images"])
def test_posterior_numbers_are_checked_before_training(number):
    with pytest.raises(UserError, match=number):
        assemble(composed("network=mlp", f"posterior.{number}=0"))
