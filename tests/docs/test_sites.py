"""The tables of sites say what the pairs' own traces say."""

import pytest
import torch
from pages.sites import Pair, site_rows, site_table
from pages.systems import SYSTEMS

from ppvae import check_pair


def by_name(pair):
    return {row.site: row for row in site_rows(pair)}


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_small_pair_is_a_pair(name):
    pair = SYSTEMS[name]()
    check_pair(pair.model, pair.guide, pair.data if len(pair.data) > 1 else pair.data[0])


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_latent_site_has_both_distributions_and_a_symbol(name):
    rows = site_rows(SYSTEMS[name]())
    latents = [row for row in rows if row.kind == "latent"]
    assert latents
    assert all(row.model and row.guide and row.symbol and len(row.drawn_in) == 2 for row in latents)
    assert [row.site for row in rows if row.kind == "observed"][-1] == "x"


def test_kinds_shapes_and_classes_of_ngvae():
    rows = by_name(SYSTEMS["ngvae"]())
    assert {name: row.kind for name, row in rows.items()} == {
        "precision": "latent",
        "z": "latent",
        "x": "observed",
        "p": "recorded",
    }
    assert rows["precision"].model == rows["precision"].guide == "Gamma"
    assert rows["z"].shape == "image, latent 3"
    assert rows["x"].shape == "image, channel 3, row 8, column 8"
    assert rows["z"].drawn_in == ("NormalGammaPrior", "NormalGammaGuide")


def test_a_view_is_shared_randomness_and_its_observation_observed():
    rows = by_name(SYSTEMS["two_views"]())
    assert rows["view"].kind == "shared randomness"
    assert rows["x_shuffled"].kind == "observed"
    assert rows["cluster"].drawn_in == ("ClusterPrior", "OptimalClusters")


def test_a_label_that_is_summed_out_stays_a_site_of_both():
    rows = by_name(SYSTEMS["semi_supervised"]())
    assert (rows["y"].kind, rows["y"].shape) == ("latent", "image, level 5")
    assert rows["label_known"].shape == "image"


def test_another_site_is_another_row(pair):
    """Nothing of the table is written down by hand but the symbols."""
    rows = by_name(Pair(pair.model, pair.guide, (pair.images,), {}))
    assert ("precision" in rows) == (pair.name != "normal")
    assert rows["x"].symbol == ""


def test_random_state_and_parameters_stay_as_they_are():
    pair = SYSTEMS["beta_vae"]()
    before, state = [p.clone() for p in pair.guide.parameters()], torch.get_rng_state()
    table = site_table(pair)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, pair.guide.parameters(), strict=True))
    assert table.splitlines()[0] == "| site | symbol | kind | model | guide | shape | drawn in |"
