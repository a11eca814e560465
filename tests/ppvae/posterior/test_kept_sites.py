"""Some sites of a hierarchy kept, others by their moments alone: the same numbers, and no memory for the rest."""

import arviz_stats
import numpy as np
import pytest
import torch
import xarray as xr

from ppvae import UserError, examine, from_pyro_svi, read_posterior, write_posterior
from ppvae.diagnostics import diagnose, informative_latents
from ppvae.interventions import ablate, keep_groups, reconstruct, traverse

GROUPS = ("z_1", "z_2", "z_3")
ENTRIES = {"z_1": 2, "z_2": 4, "z_3": 32}


@pytest.fixture
def export(hierarchy):
    pair = hierarchy()

    def make(**settings):
        return from_pyro_svi(pair.model, pair.guide, pair.images, 5, batch_size=20, **settings)

    make.pair = pair
    return make


def numbers(tree: xr.DataTree, site: str) -> int:
    """How many entries of the site's own shape the tree keeps, an image."""
    groups = [tree[name].to_dataset() for name in ("posterior", "sample_stats") if name in tree.children]
    arrays = [array for group in groups for array in group.data_vars.values() if f"latent_{site[2:]}" in array.dims]
    return sum(array.size for array in arrays) // 12


@pytest.mark.parametrize(
    ("settings", "draws", "moments", "stored"),
    [
        ({}, GROUPS, GROUPS, False),
        ({"sites": ["z_1", "z_3"]}, ("z_1", "z_3"), ("z_1", "z_3"), False),
        pytest.param({"sites": "z_2"}, ("z_2",), ("z_2",), False, marks=pytest.mark.long),
        ({"moments": True}, (), GROUPS, True),
        pytest.param({"sites": ["z_1"], "moments": True}, ("z_1",), GROUPS, False, marks=pytest.mark.long),
        ({"sites": ["z_1"], "moments": ["z_2"]}, ("z_1",), ("z_1", "z_2"), True),
        ({"moments": ["z_3"]}, ("z_1", "z_2"), GROUPS, False),
        ({"sites": []}, (), (), False),
    ],
)
def test_what_is_kept_is_what_the_whole_tree_holds(export, settings, draws, moments, stored, tmp_path):
    """Bit for bit, prior and densities too; of the rest the KL of each image, and not one number more."""
    whole = export()
    some = export(**settings, store=tmp_path / "posterior.zarr") if stored else export(**settings)
    for site in GROUPS:
        assert (site in some.get("posterior", {})) == (site in some.get("prior", {})) == (site in draws)
        if site in draws:
            assert some["posterior"][site].equals(whole["posterior"][site])
            np.testing.assert_allclose(some["prior"][site], whole["prior"][site])
        kept, full = (tree["sample_stats"][f"kl_{site}"] for tree in (some, whole))
        if site in moments:
            for name in ("mean", "variance"):
                assert some["sample_stats"][f"{site}_{name}"].equals(whole["sample_stats"][f"{site}_{name}"])
            assert kept.equals(full)
        else:
            assert kept.dims == ("image",)
            np.testing.assert_allclose(kept, full.sum(full.dims[1:]), rtol=1e-5)
        assert numbers(some, site) == ENTRIES[site] * (5 * (site in draws) + 3 * (site in moments))
    for name in ("log_p", "log_q", "elbo"):
        assert some["sample_stats"][name].equals(whole["sample_stats"][name])
    assert list(some.attrs["latents"]) == list(GROUPS)


def test_nothing_that_is_left_out_is_held_in_memory_behind_what_is_kept(export):
    """No array is a window on a larger one."""
    tree = export(sites=["z_1"], moments=["z_2"])
    for group in ("posterior", "prior", "sample_stats", "log_prior"):
        for array in tree[group].data_vars.values():
            base = array.variable.values
            while base.base is not None and isinstance(base.base, np.ndarray):
                base = base.base
            assert base.nbytes <= array.nbytes, array.name


def test_moments_are_enough_for_what_holds_sites_at_their_means(export):
    model, whole, sums = export.pair.model, export(), export(moments=True)
    assert reconstruct(model, sums).equals(reconstruct(model, whole))
    assert traverse(model, sums, site="z_2").equals(traverse(model, whole, site="z_2"))
    assert ablate(model, sums, site="z_3").equals(ablate(model, whole, site="z_3"))
    assert informative_latents(sums, site="z_3").equals(informative_latents(whole, site="z_3"))
    assert keep_groups(model, sums, [1]).equals(keep_groups(model, whole, [1]))
    few = sums.isel(image=slice(2, 5))
    np.testing.assert_allclose(reconstruct(model, few), reconstruct(model, whole)[2:5], atol=1e-6)


@pytest.mark.parametrize("written", [False, True])
def test_what_needs_more_says_so(export, written, tmp_path):
    model, some, sums = export.pair.model, export(sites=["z_1"]), export(moments=True)
    if written:
        for name, tree in (("some", some), ("sums", sums)):
            write_posterior(tree, tmp_path / f"{name}.zarr")
        some, sums = (read_posterior(tmp_path / f"{name}.zarr") for name in ("some", "sums"))
    for needs, line in (
        (lambda: reconstruct(model, some), "keeps nothing of 'z_2'.*moments="),
        (lambda: traverse(model, some.isel(image=slice(4)), site="z_1"), "keeps nothing of 'z_2'"),
        (lambda: informative_latents(some, site="z_3"), "site='z_3': expected one of z_1"),
        (lambda: reconstruct(model, some, draw=0), "keeps no draws of 'z_2'.*sites="),
        (lambda: reconstruct(model, sums, draw=0), "no posterior; sites= and moments= of from_pyro_svi keep no draws"),
    ):
        with pytest.raises(UserError, match=line) as caught:
            needs()
        assert "\n" not in str(caught.value)


def test_az_summary_takes_what_is_kept(export):
    tree = export(sites=["z_1"], moments=["z_3"])
    assert len(arviz_stats.summary(tree)) == 12 * ENTRIES["z_1"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"sites": ["z_4"]}, "sites names 'z_4'; expected one of: z_3"),
        ({"moments": ["zz"]}, "moments names 'zz'"),
        ({"sites": ["z_1"], "moments": ["z_1", "z_2"]}, "'z_1' is in sites= and in moments="),
    ],
)
def test_names_that_are_no_sites_are_refused(export, settings, line):
    with pytest.raises(UserError, match=line) as caught:
        export(**settings)
    assert "\n" not in str(caught.value)


def test_other_pairs_keep_all_their_sites(export):
    pair = export.pair
    with pytest.raises(UserError, match="sites= and moments= go with images"):
        from_pyro_svi(pair.model, pair.guide, model_args=(pair.images,), num_samples=3, moments=True)


def test_the_priors_variance_is_that_of_all_draws_however_many_at_a_time(export):
    """Var z_2 = B A Aᵀ Bᵀ + ¼ of each entry, in closed form; 1 024 draws."""
    top_down = export.pair.top_down
    matrix = (top_down.prior["z_2"].weight @ top_down.enter["z_1"].weight).detach()
    exact = float((matrix.square().sum(1) + 0.25).mean())
    tree = export(moments=True)
    found = [tree["sample_stats"][f"{site}_variance"].attrs["prior_variance"] for site in ("z_1", "z_2")]
    assert found[0] == pytest.approx(1, rel=1e-6)
    assert found[1] == pytest.approx(exact, rel=0.15)
    torch.manual_seed(0)
    many = from_pyro_svi(export.pair.model, export.pair.guide, export.pair.images, 5, batch_size=1024, moments=True)
    assert many["sample_stats"]["z_2_variance"].attrs["prior_variance"] == pytest.approx(exact, rel=0.15)


def test_an_examination_keeps_the_draws_of_some_sites_alone(hierarchy):
    """What it finds does not depend on them, but for the codes' distance from the prior, which is of what is kept."""
    pair = hierarchy()
    settings = {"num_samples": 20, "simulations": 20, "decoded_images": 0}
    whole, some = (examine(pair.model, pair.guide, pair.images, sites=sites, **settings) for sites in (None, ["z_1"]))
    assert list(some["posterior"].data_vars) == list(some["prior"].data_vars) == ["z_1"]
    found, known = diagnose(some), diagnose(whole)
    others = [test for test in known["test"].values if test not in ("aggregate", "aggregated posterior")]
    np.testing.assert_allclose(found["statistic"].sel(test=others), known["statistic"].sel(test=others), rtol=1e-5)
