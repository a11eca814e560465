"""The prior of two levels: its density, its draws, what a place of the maps sees, and what it refuses."""

import pyro
import pytest
import torch
from pyro import poutine

from ppvae.errors import UserError
from ppvae.priors import AutoregressiveMapPrior

MAPS, LATENTS = (2, 3, 4), 3
WINDOWS = [None, (0, 1), (2, 3)]


def prior(window=None, scale: float = 2.0, **options) -> AutoregressiveMapPrior:
    torch.manual_seed(0)
    sizes = {"hidden": [4], "layers": 3, "channels": 4, "context": 3}
    made = AutoregressiveMapPrior(LATENTS, MAPS, window=window, **sizes, **options).double()
    for parameter in made.parameters():
        parameter.data *= scale  # far from N(0, I)
    return made


def sites_of(made: AutoregressiveMapPrior, **values: torch.Tensor):
    with pyro.plate("image", 4, dim=-1):
        return poutine.trace(poutine.condition(made, values)).get_trace()


def given_top(made: AutoregressiveMapPrior, z_2: torch.Tensor):
    """p(z_1 | z_2)."""
    return sites_of(made, z_2=z_2).nodes["z_1"]["fn"]


def top() -> torch.Tensor:
    return torch.randn(4, LATENTS).double()


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_its_density_is_that_of_a_change_of_variables(window):
    """z_1 → (z_1 − μ)/σ has a triangular Jacobian: log p(z_1 | z_2) = log N(noise) + log |det|, for any z_1."""
    distribution = given_top(prior(window), top())
    value = 2 * torch.randn(4, *MAPS).double()

    def whitened(flat: torch.Tensor) -> torch.Tensor:
        base = distribution.given(flat.unflatten(-1, MAPS)).base_dist
        return ((flat.unflatten(-1, MAPS) - base.loc) / base.scale).flatten(1)

    jacobian = torch.autograd.functional.jacobian(lambda flat: whitened(flat).sum(0), value.flatten(1)).transpose(0, 1)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(whitened(value.flatten(1))).sum(1)
    torch.testing.assert_close(distribution.log_prob(value), normal + torch.linalg.slogdet(jacobian)[1])
    assert (jacobian.flatten(1).abs() > 1e-6).sum() > 4 * 24 or window == (0, 1)  # places do depend on each other


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_equal_noise_makes_equal_maps_and_whitening_a_draw_gives_its_noise(window):
    distribution = given_top(prior(window), top())
    noise = distribution.noise((2,))
    maps = distribution.sample((2,), noise=noise)
    for options in ({"way": "naive"}, {"way": "fixed_point"}, {"way": "cached"}, {"at_once": 3}):
        torch.testing.assert_close(distribution.sample((2,), noise=noise, **options), maps, rtol=0, atol=1e-9)
    base = distribution.given(maps).base_dist
    torch.testing.assert_close((maps - base.loc) / base.scale, noise)


def test_sites_stand_top_first_and_the_maps_are_returned():
    made = prior()
    with pyro.plate("draws", 5, dim=-2), pyro.plate("image", 4, dim=-1):
        trace = poutine.trace(made).get_trace()
    sites = {name: site for name, site in trace.nodes.items() if name.startswith("z_")}
    assert list(sites) == ["z_2", "z_1"]
    assert sites["z_2"]["value"].shape == (5, 4, LATENTS)
    assert sites["z_1"]["value"].shape == (5, 4, *MAPS)
    assert sites["z_2"]["infer"]["event_dims"] == ["latent_2"]
    assert sites["z_1"]["infer"]["event_dims"] == ["map_1", "row_1", "column_1"]
    assert trace.nodes["_RETURN"]["value"] is sites["z_1"]["value"]
    assert (made.latents, made.map_shape) == (LATENTS, MAPS)


def test_a_window_of_nothing_leaves_the_places_to_the_vector():
    """Given z_2 the places are then independent; z_2 moves all of them."""
    made, z_2 = prior((0, 1)), top()
    first, second = (given_top(made, z_2).given(torch.randn(4, *MAPS).double()).base_dist for _ in range(2))
    assert torch.equal(first.loc, second.loc)
    moved = given_top(made, z_2 + 1).given(torch.zeros(4, *MAPS).double()).base_dist
    assert ((moved.loc - first.loc).abs() > 1e-6).all()


def test_maps_at_one_place_are_independent_given_the_places_before():
    """∂ μ_i / ∂ z_1,j = 0 for all maps of j = i and of later places."""
    distribution = given_top(prior(), top())
    value = torch.randn(4, *MAPS).double()
    jacobian = torch.autograd.functional.jacobian(lambda z: distribution.given(z).base_dist.loc.sum(0), value)
    by_place = jacobian.abs().sum((0, 3, 4)).flatten(2).flatten(0, 1)  # of all: (place, place) at last
    assert not by_place.reshape(12, 12).triu().any()
    assert (by_place.reshape(12, 12).tril(-1).sum(1)[1:] > 0).all()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"latents": 0}, "latents=0: expected a whole number of at least 1"),
        ({"map_shape": (2, 3)}, r"map_shape is \(2, 3\); expected \(channels, rows, columns\)"),
        ({"map_shape": None}, "map_shape is None"),
        ({"window": (2, 2)}, r"window=\[2, 2\]: expected"),
        ({"layers": 1}, "layers=1: the full past"),
        ({"causal": "masked"}, "causal='masked'.*gated"),
        ({"hidden": 3}, "channels=3: expected a list"),
    ],
)
def test_wrong_sizes_end_in_one_line(arguments, line):
    with pytest.raises(UserError, match=line) as caught:
        AutoregressiveMapPrior(**{"latents": 3, "map_shape": MAPS, **arguments})
    assert "\n" not in str(caught.value)
