"""A model's size is known before it is built."""

import hydra
import pytest
import torch

from experiments import memory
from experiments.assemble import assemble, maps_of
from experiments.memory import check_model_size, model_size
from experiments.pairs import pair
from ppvae.errors import UserError

TINY = ["data.size=8", "data.image_size=32", "trainer.progress=false"]


def composed(*words: str, side: int = 32):
    configuration = hydra.compose("config", [*TINY, *words])
    configuration.image_shape, configuration.maps = [3, side, side], maps_of(configuration.likelihood, 3)
    return configuration


@pytest.mark.parametrize(
    "words",
    [
        ["network=conv"],
        ["network=mlp", "prior=mixture", "guide=iaf"],
        ["prior=autoregressive_flow", "guide=full_covariance"],
        ["network=mlp", "auxiliary=shuffle", "prior=normal", "guide=two_view"],
    ],
)
def test_the_size_is_that_of_the_pair_built(words):
    configuration = composed(*words)
    built = pair(configuration)
    own = {id(parameter): parameter.numel() for program in built for parameter in program.parameters()}
    assert model_size(lambda: pair(configuration)) == (sum(own.values()), True)


def test_counting_takes_no_memory_and_leaves_the_random_state():
    configuration = composed("network=mlp", "likelihood=categorical", side=64)
    state = torch.get_rng_state()
    parameters, exact = model_size(lambda: pair(configuration))
    assert torch.equal(torch.get_rng_state(), state)
    outputs, hidden, latents = 64 * 64 * 3 * 256, 400, 15
    network = outputs * (hidden + 1) + hidden * (latents + 1)  # of the decoder alone
    assert exact
    assert network < parameters < network * 1.01
    assert parameters > 1.2e9


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(monkeypatch):
    configuration = composed("network=mlp", "likelihood=categorical", side=64)
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 10**9)
    with pytest.raises(UserError, match=r"1\.\d+e\+09 parameters.* takes 25\.\d GB, 8 GB of memory are free; give"):
        check_model_size(lambda: pair(configuration), "cpu")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.size=1000000000000"], "^data.size=1000000000000 images of 32 × 32 pixels takes"),
        (["network=mlp", "posterior.draws=1000000000000"], "^posterior.draws=1000000000000 takes"),
        (["network=mlp", "latents=1000000000"], "fewer hidden units or latents"),
        (["network=mlp", "prior=vamp", "guide=mean_field", "prior.components=1000000000"], "a smaller network"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_made(words, line):
    with pytest.raises(UserError, match=line):
        assemble(hydra.compose("config", [*[word for word in TINY if word.split("=")[0] not in words[0]], *words]))
