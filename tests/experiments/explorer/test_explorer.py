"""Any system's codes set by hand: what is decoded is what reconstructions, traversals and the model itself say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.explorer import Setting
from ppvae import UserError
from ppvae.interventions import draw_given, keep_groups, reconstruct, traverse

CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # images decoded side by side, and each by itself


def test_at_its_own_code_an_image_is_its_reconstruction(system, explore):
    explorer = explore(system)
    own = reconstruct(explorer.model, explorer.tree.isel(image=slice(12)))
    for image in (0, 5):
        drawn = explorer.decode(Setting(image))
        np.testing.assert_allclose(drawn.images[0], own.values[image], **CLOSE)
        assert ("draws" if drawn.drawn else "mean") == own.attrs["shown"]
    np.testing.assert_allclose(explorer.reconstructions(), own.values, **CLOSE)


def test_one_slider_moves_as_a_traversal_does(system, explore):
    """Of every latent of every vector; sites that depend on it are set by the model in both."""
    explorer = explore(system)
    assert explorer.codes
    for site in explorer.codes:
        axes = explorer.axes(site)
        if axes.kind == "directions":
            continue
        expected = traverse(explorer.model, explorer.tree, image=5, steps=4, site=site)
        assert [axes.numbers[place] for place in axes.order] == expected["latent"].values.tolist()
        for number in axes.numbers:
            drawn, path = explorer.traverse(Setting(5), site, number, 4)
            of_latent = expected.sel(latent=number)
            np.testing.assert_allclose(path, of_latent["value"], **CLOSE)
            np.testing.assert_allclose(drawn.images, of_latent.values, **CLOSE)
            alone = explorer.decode(Setting(5, moved={site: {number: float(path[2])}}))
            np.testing.assert_allclose(alone.images[0], of_latent.values[2], **CLOSE)
            assert explorer.follows(Setting(5, moved={site: {number: 0.0}})) == expected.attrs["dependent"]


# What depends on what is moved, and what the model draws


def test_below_a_moved_group_the_model_sets_the_next(explore):
    """With a group moved to where it is, those below take their means given it, as draws at temperature 0."""
    explorer = explore("hierarchy")
    own = float(explorer.axes("z_1").scores[5, 0])
    moved = Setting(5, moved={"z_1": {0: own}})
    assert explorer.follows(moved) == ["z_2"]
    expected = keep_groups(explorer.model, explorer.tree, [1], image=5, draws=1, temperature=0)
    np.testing.assert_allclose(explorer.decode(moved).images[0], expected.values[0, 0], **CLOSE)
    assert (explorer.decode(moved).images - explorer.decode(Setting(5)).images).abs().max() > 3e-4
    both = replace(moved, moved={**moved.moved, "z_2": {0: float(explorer.axes("z_2").scores[5, 0])}})
    assert explorer.follows(both) == []  # what is moved by hand stays there
    np.testing.assert_allclose(explorer.decode(both).images, explorer.decode(Setting(5)).images, **CLOSE)


@pytest.mark.parametrize(("system", "kept"), [("hierarchy", 1), ("hierarchy", 0), ("plain", 0), ("two views", 1)])
def test_what_is_not_kept_is_drawn_by_the_model(system, kept, explore):
    explorer = explore(system)
    setting = Setting(5, kept=kept, temperature=0.7 if system != "two views" else 1.0, seed=3)
    options = {"image": 5, "draws": 1, "temperature": setting.temperature, "seed": 3}
    expected = keep_groups(explorer.model, explorer.tree, [kept], **options)
    np.testing.assert_allclose(explorer.decode(setting).images[0], expected.values[0, 0], **CLOSE)
    assert explorer.follows(setting) == explorer.order[kept:]
    other = explorer.decode(replace(setting, seed=4)).images
    assert (other - explorer.decode(setting).images).abs().max() > 1e-3


def test_a_traversal_of_a_kept_group_has_one_draw_below(explore):
    """Where the axis is at one value twice, what is drawn below is the same."""
    explorer = explore("hierarchy")
    axes = explorer.axes("z_1")
    setting = Setting(5, kept=1, seed=3)
    drawn, path = explorer.traverse(setting, "z_1", 0, 3)
    alone = explorer.decode(replace(setting, moved={"z_1": {0: float(path[2])}}))
    np.testing.assert_allclose(drawn.images[2], alone.images[0], **CLOSE)
    assert axes.kind == "directions"


def test_draws_without_a_mean_have_one_noise(explore):
    explorer = explore("autoregressive")
    drawn, path = explorer.traverse(Setting(5), "z", 0, 3)
    assert drawn.drawn
    again = explorer.decode(Setting(5, moved={"z": {0: float(path[1])}}))
    np.testing.assert_allclose(drawn.images[1], again.images[0], **CLOSE)


# Levels


@pytest.mark.parametrize(("system", "name"), [("conditional", "given"), ("some labels", "y")])
def test_a_label_is_chosen_and_the_code_stays(system, name, explore):
    explorer = explore(system)
    choice = explorer.choices[name]
    assert sorted(choice.names) == ["blue", "green", "red"]
    z = explorer.values["z"][5:6]
    for level in range(3):
        expected = explorer.model.decode(z, choice.options[level : level + 1]).mean
        drawn = explorer.decode(Setting(5, chosen={name: level}))
        np.testing.assert_allclose(drawn.images, expected.detach(), **CLOSE)
    own = explorer.decode(Setting(5, chosen={name: choice.own[5]}))
    np.testing.assert_allclose(own.images, explorer.decode(Setting(5)).images, **CLOSE)


def test_a_conditional_run_draws_its_label_as_draw_given_does(explore):
    """All of the code drawn at temperature 0: the prior's mean under each label."""
    explorer = explore("conditional")
    expected = draw_given(explorer.model, torch.arange(3), 1, temperature=0).values[:, 0]
    for level in range(3):
        drawn = explorer.decode(Setting(2, chosen={"given": level}, kept=0, temperature=0))
        np.testing.assert_allclose(drawn.images[0], expected[level], **CLOSE)


def test_another_image_is_given(explore):
    explorer = explore("given grey")
    expected = explorer.model.decode(explorer.values["z"][5:6], explorer.data[1][7:8]).mean
    drawn = explorer.decode(Setting(5, chosen={"given": 7}))
    np.testing.assert_allclose(drawn.images, expected.detach(), **CLOSE)
    assert len(explorer.choices["given"].options) == explorer.count == 12


def test_a_cluster_that_is_chosen_puts_its_code_at_the_cluster_s_mean(explore):
    explorer = explore("two views")
    prior, z_local = explorer.model.prior_global, explorer.values["z_local"][5:6]
    for level in range(3):
        setting = Setting(5, chosen={"cluster": level})
        assert explorer.follows(setting) == ["z_global"]
        expected = explorer.model.decode(prior.loc[level][None], z_local).mean
        np.testing.assert_allclose(explorer.decode(setting).images, expected.detach(), **CLOSE)


# What there is not


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        (Setting(12), "image=12: there are 12, numbered from 0; give one of them"),
        (Setting(moved={"w": {0: 1.0}}), "site='w': expected one of z"),
        (Setting(moved={"z": {3: 1.0}}), "z has no latent 3: give one of its 3, 0 to 2"),
        (Setting(chosen={"y": 0}), "choice='y': expected one of "),
        (Setting(kept=2), "kept=2: there are 2 numbers of sites, from 0; give one of them"),
        (Setting(temperature=-1.0), "temperature"),
        (Setting(seed=-1), "seed"),
    ],
)
def test_what_there_is_not_ends_in_one_line(setting, line, explore):
    with pytest.raises(UserError) as error:
        explore("plain").decode(setting)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_a_level_that_there_is_not_ends_in_one_line(explore):
    with pytest.raises(UserError, match="given=3: there are 3 levels, from 0; give one of them"):
        explore("conditional").decode(Setting(chosen={"given": 3}))
