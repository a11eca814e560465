"""Groups kept and redrawn, and paths between images, of a linear hierarchy where every answer is a closed form."""

import numpy as np
import pytest
import torch

from ppvae import UserError, from_pyro_svi
from ppvae.interventions import draw_images, interpolate, keep_groups, reconstruct, relevance
from ppvae.interventions.paths import spherical, straight

GROUPS = ["z_1", "z_2", "z_3"]


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def pair(hierarchy, made):
    """The pair and its tree, made once."""
    if not made:
        found = hierarchy()
        found.tree = from_pyro_svi(found.model, found.guide, found.images, 3)
        made["pair"] = found
    return made["pair"]


def centers(pair, image: int) -> dict[str, torch.Tensor]:
    return {site: torch.from_numpy(pair.tree["sample_stats"][f"{site}_mean"].values[image]) for site in GROUPS}


def decoded(pair, held: dict[str, torch.Tensor]) -> torch.Tensor:
    """The image by hand: latents without a value at their mean given those above."""
    with torch.no_grad():
        features = pair.top_down.walk(lambda name, h: held.get(name, pair.top_down.loc(name, h)))
    return features.reshape(1, 4, 4)


# Groups kept


def test_all_groups_kept_are_the_reconstruction_and_none_the_models_own_draws(pair):
    found = keep_groups(pair.model, pair.tree, image=5, draws=4, seed=3)
    assert found.dims == ("kept", "draw", "channel", "row", "column")
    assert found["kept"].values.tolist() == [0, 1, 2, 3]
    assert found["lowest"].values.tolist() == ["", *GROUPS]
    own = draw_images(pair.model, 4, seed=3).values
    np.testing.assert_array_equal(found.sel(kept=0).values, own)
    redrawn = reconstruct(pair.model, pair.tree).values[5]
    np.testing.assert_allclose(found.sel(kept=3).values, np.broadcast_to(redrawn, own.shape), atol=1e-6)


@pytest.mark.parametrize("draw", [None, 2])
def test_kept_groups_are_unchanged_and_the_others_drawn(pair, draw):
    """What enters the network at each site, in every draw: the posterior's value, bit for bit, or one of its own."""
    met = {site: [] for site in GROUPS}
    hooks = [
        pair.top_down.enter[site].register_forward_pre_hook(lambda _, given, s=site: met[s].append(given[0]))
        for site in GROUPS
    ]
    keep_groups(pair.model, pair.tree, [2], image=4, draws=5, draw=draw)
    for hook in hooks:
        hook.remove()
    for site in GROUPS:
        center = pair.tree["sample_stats"][f"{site}_mean"].values[4]
        wanted = center if draw is None else pair.tree["posterior"][site].values[0, draw, 4]
        same = torch.equal(met[site][-1], torch.from_numpy(wanted).flatten().expand(5, -1))
        assert same == (site != "z_3")
    assert len(met["z_3"][-1].unique(dim=0)) == 5


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_at_temperature_zero_the_rest_is_its_mean_given_what_is_kept(pair, kept):
    held = {site: value for site, value in centers(pair, 7).items() if site in GROUPS[:kept]}
    found = keep_groups(pair.model, pair.tree, [kept], image=7, draws=2, temperature=0)
    np.testing.assert_allclose(found[0, 0], decoded(pair, held), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found[0, 0], found[0, 1])
    half, own = (keep_groups(pair.model, pair.tree, [kept], image=7, draws=2, temperature=t) for t in (0.5, 1.0))
    np.testing.assert_allclose(half - found, 0.5 * (own - found), rtol=1e-4, atol=1e-5)  # one noise, all is linear


def test_what_cannot_be_kept_is_named(pair):
    for settings, line in (
        ({"kept": [4]}, "kept=4: the model has 3 latent sites"),
        ({"kept": [-1]}, "kept=-1"),
        ({"image": 12}, "image=12: the tree has 12 images"),
        ({"draws": 0}, "draws=0"),
        ({"temperature": -1}, "temperature=-1"),
    ):
        with pytest.raises(UserError, match=line) as caught:
            keep_groups(pair.model, pair.tree, **settings)
        assert "\n" not in str(caught.value)


def test_a_precision_that_is_redrawn_is_as_warm_as_ever(build):
    """z alone is colder, so that nothing is left of it at 0."""
    pair = build("normal-gamma implicit")
    tree = from_pyro_svi(pair.model, pair.guide, pair.images, 2)
    spread = [np.ptp(keep_groups(pair.model, tree, [0, 1], temperature=t).values, 1).max() for t in (0, 0.5)]
    assert spread[0] < 1e-6 < 1e-3 < spread[1]


# Paths


def test_a_straight_path_of_a_linear_decoder_is_a_cross_fade_of_reconstructions(pair):
    found = interpolate(pair.model, pair.tree, (3, 8), steps=5)
    ends = reconstruct(pair.model, pair.tree).values[[3, 8]]
    shares = found["step"].values[:, None, None, None]
    np.testing.assert_allclose(found["step"], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found, (1 - shares) * ends[0] + shares * ends[1], rtol=1e-5, atol=1e-5)
    assert found.attrs["dependent"] == []
    assert found.dims == ("step", "channel", "row", "column")


def test_a_code_that_others_depend_on_has_no_relevance_of_its_own(pair):
    with pytest.raises(UserError, match=r"the codes z_2, z_3 depend on z_1.*use ablate") as caught:
        relevance(pair.model, pair.tree, site="z_1")
    assert "\n" not in str(caught.value)
    assert relevance(pair.model, pair.tree, site="z_3")["relevance"].sizes == {"latent_3": 2}


def test_what_depends_on_a_moved_code_follows_and_the_rest_stays(pair):
    first, second = centers(pair, 0), centers(pair, 6)
    below = interpolate(pair.model, pair.tree, (0, 6), steps=2, sites="z_3")
    np.testing.assert_allclose(below[1], decoded(pair, {**first, "z_3": second["z_3"]}), rtol=1e-5, atol=1e-5)
    above = interpolate(pair.model, pair.tree, (0, 6), steps=2, sites=["z_1"])
    assert above.attrs["dependent"] == ["z_2", "z_3"]
    np.testing.assert_allclose(above[1], decoded(pair, {"z_1": second["z_1"]}), rtol=1e-5, atol=1e-5)


def test_a_draw_may_be_the_end_of_a_path(pair):
    found = interpolate(pair.model, pair.tree, (1, 2), steps=2, draw=1)
    np.testing.assert_allclose(found, reconstruct(pair.model, pair.tree, draw=1).values[[1, 2]], rtol=1e-5, atol=1e-5)


def test_a_spherical_path_turns_evenly():
    """From 2 e₁ to 4 e₂: at a third, 30° and a length of 8/3."""
    path = spherical(torch.tensor([2.0, 0, 0]), torch.tensor([0, 4.0, 0]), torch.tensor([0, 1 / 3, 1]))
    length = 8 / 3
    expected = [[2, 0, 0], [length * 3**0.5 / 2, length / 2, 0], [0, 4, 0]]
    torch.testing.assert_close(path, torch.tensor(expected))


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, 0.0])
def test_where_there_is_no_one_arc_the_path_is_straight(factor):
    a, shares = torch.randn(2, 2, 3), torch.linspace(0, 1, 4)
    torch.testing.assert_close(spherical(a, factor * a, shares), straight(a, factor * a, shares))


def test_a_nearly_straight_arc_loses_no_digits():
    a = torch.randn(5)
    b = a + 1e-4 * torch.randn(5)
    shares = torch.linspace(0, 1, 5)
    torch.testing.assert_close(spherical(a, b, shares), straight(a, b, shares), rtol=1e-5, atol=1e-6)


def test_the_ends_of_a_spherical_path_are_the_reconstructions(pair):
    found = interpolate(pair.model, pair.tree, (3, 8), steps=3, path="spherical")
    ends = reconstruct(pair.model, pair.tree).values[[3, 8]]
    np.testing.assert_allclose(found.values[[0, 2]], ends, rtol=1e-5, atol=1e-5)
    assert not np.allclose(found[1], ends.mean(0), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"steps": 1}, "steps=1"),
        ({"images": (0, 12)}, r"images=\(0, 12\): the tree has 12"),
        ({"images": (0, 1, 2)}, "expected two"),
        ({"sites": ["z"]}, "sites='z': expected one of z_1, z_2, z_3"),
        ({"path": "curved"}, "path='curved': expected one of straight, spherical"),
    ],
)
def test_no_path_is_said_in_one_line(pair, settings, line):
    with pytest.raises(UserError, match=line) as caught:
        interpolate(pair.model, pair.tree, **settings)
    assert "\n" not in str(caught.value)
