"""Posteriors on disk: what was written is what is read, and an older one survives a failed write."""

import numpy as np
import pytest
import torch
import xarray as xr

from guides import NormalGammaGuide
from ppvae import VAE, UserError, from_pyro_svi, read_posterior, write_posterior
from ppvae.datasets import sprites
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    data = sprites(6, seed=1, image_size=32)
    torch.manual_seed(0)
    decoder = MLPDecoder(3, data.image_shape, hidden=[8])
    model = VAE(NormalGammaPrior(3), NormalLikelihood(decoder, scale=0.1))
    guide = NormalGammaGuide(MLPEncoder(data.image_shape, hidden=[8]), 3)
    return from_pyro_svi(model, guide, data.images[:], 4, constant_data=data.factors, posterior_predictive=True)


def assert_identical(first: xr.DataTree, second: xr.DataTree) -> None:
    assert set(first.children) == set(second.children)
    assert first.attrs == second.attrs
    for name, group in first.children.items():
        assert group.to_dataset().identical(second[name].to_dataset()), name
        for variable in group.data_vars:
            assert group[variable].dtype == second[name][variable].dtype, variable


def test_what_is_written_is_read(tree, tmp_path):
    write_posterior(tree, tmp_path / "deep" / "posterior.zarr")
    assert_identical(tree, read_posterior(tmp_path / "deep" / "posterior.zarr").load())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["posterior.zarr"]


def test_paths_may_be_strings(tree, tmp_path):
    write_posterior(tree, str(tmp_path / "posterior.zarr"))
    assert_identical(tree, read_posterior(str(tmp_path / "posterior.zarr")).load())


def test_a_posterior_is_read_lazily(tree, tmp_path):
    write_posterior(tree, tmp_path / "posterior.zarr")
    lazy = read_posterior(tmp_path / "posterior.zarr")
    assert not lazy["posterior"]["z"].variable._in_memory
    few = lazy.isel(image=slice(1, 3))
    np.testing.assert_array_equal(few["posterior"]["z"], tree["posterior"]["z"][:, :, 1:3])
    assert few["posterior"]["image"].values.tolist() == [1, 2]


def test_a_new_posterior_replaces_the_old_one(tree, tmp_path):
    path = tmp_path / "posterior.zarr"
    write_posterior(tree, path)
    write_posterior(tree.isel(image=slice(2)), path)
    assert read_posterior(path)["posterior"].sizes["image"] == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_write_keeps_the_old_posterior(tree, tmp_path, monkeypatch):
    path = tmp_path / "posterior.zarr"
    write_posterior(tree, path)

    def halfway(_tree, store, **_):
        store.root.mkdir()
        (store.root / "half").write_text("a")
        raise OSError("no space left on device")

    monkeypatch.setattr(xr.DataTree, "to_zarr", halfway)
    with pytest.raises(OSError, match="no space"):
        write_posterior(tree, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["posterior.zarr"]
    assert_identical(tree, read_posterior(path).load())


def test_a_posterior_can_be_written_over_the_one_it_is_read_from(tree, tmp_path):
    path = tmp_path / "posterior.zarr"
    write_posterior(tree, path)
    write_posterior(read_posterior(path).isel(image=slice(3)), path)
    np.testing.assert_array_equal(read_posterior(path)["posterior"]["z"], tree["posterior"]["z"][:, :, :3])


def test_a_missing_posterior_ends_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.zarr") as caught:
        read_posterior(tmp_path / "nowhere.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["file", "empty folder", "other folder"])
def test_what_is_no_posterior_ends_in_one_line(content, tmp_path):
    path = tmp_path / "posterior.zarr"
    if content == "file":
        path.write_text("text")
    else:
        path.mkdir()
        if content == "other folder":
            (path / "notes.txt").write_text("text")
    with pytest.raises(UserError, match=r"posterior\.zarr") as caught:
        read_posterior(path)
    assert "\n" not in str(caught.value)
