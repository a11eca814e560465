"""A streamed posterior is the one in memory, whole or continued after a kill."""

import signal
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from torch import nn

from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, UserError, from_pyro_svi, read_posterior, write_posterior
from ppvae.datasets import ImageDataset, sprites
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.posterior import streaming
from ppvae.priors import NormalGammaPrior, NormalPrior

SHAPE, IMAGES, DRAWS, CHUNK = (1, 8, 8), 23, 3, 4
OPTIONS = {"batch_size": CHUNK * DRAWS, "seed": 5}
BLOCK = 2 * CHUNK * 4 * 64  # bytes of two chunks of images: three blocks, the last of them not full


def make_pair(kind: str = "normal") -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    prior = NormalPrior(2) if kind == "normal" else NormalGammaPrior(2)
    guide = MeanFieldNormal if kind == "normal" else NormalGammaGuide
    model = VAE(prior, NormalLikelihood(MLPDecoder(2, SHAPE, hidden=[8]), scale=0.3))
    return model, guide(MLPEncoder(SHAPE, hidden=[8]), 2)


def make_images() -> torch.Tensor:
    return torch.rand(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def images() -> torch.Tensor:
    return make_images()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(streaming, "BLOCK", BLOCK)


def assert_same(stored: xr.DataTree, expected: xr.DataTree) -> None:
    assert set(stored.children) == set(expected.children)
    for name, group in expected.children.items():
        assert stored[name].to_dataset().load().identical(group.to_dataset()), name
        for variable in group.variables:
            assert stored[name][variable].dtype == group[variable].dtype, variable
    own = ("fingerprint", "images_per_block", "created_at")
    ours, theirs = ({k: v for k, v in tree.attrs.items() if k not in own} for tree in (stored, expected))
    assert ours == theirs


def files_of(path: Path) -> dict[str, bytes]:
    """All arrays' bytes; the root's attributes hold the hour."""
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    found.pop("zarr.json")
    return found


class Stumbles:
    """Counts a module's calls and fails behind the first ``calls`` of them."""

    def __init__(self, module: nn.Module, calls: int | None = None) -> None:
        self.calls, self.made = calls, 0
        self.hook = module.register_forward_pre_hook(self)

    def __call__(self, *_: object) -> None:
        if self.made == self.calls:
            raise ZeroDivisionError
        self.made += 1

    def __enter__(self) -> "Stumbles":
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()


@pytest.mark.parametrize(
    ("kind", "sample_dims"),
    [
        ("normal", ("sample",)),
        ("normal_gamma", ("chain", "draw")),
        pytest.param("normal", ("chain", "draw"), marks=pytest.mark.long),
        pytest.param("normal_gamma", ("sample",), marks=pytest.mark.long),
    ],
)
def test_stored_and_in_memory_are_the_same(kind, sample_dims, images, tmp_path):
    pair = make_pair(kind)
    options = {**OPTIONS, "posterior_predictive": True, "sample_dims": sample_dims, "coords": {"latent": ["a", "b"]}}
    options["constant_data"] = xr.Dataset(
        {"hue": ("image", np.arange(IMAGES) % 3)}, {"image": [f"image {i}" for i in range(IMAGES)]}
    )
    stored = from_pyro_svi(*pair, images, DRAWS, store=tmp_path / "deep" / "posterior.zarr", **options)
    assert_same(stored, from_pyro_svi(*pair, images, DRAWS, **options))
    assert stored["posterior"]["image"].values[:2].tolist() == ["image 0", "image 1"]


def test_it_is_lazy_and_chunked_along_image(images, tmp_path):
    dask = pytest.importorskip("dask.array")
    tree = from_pyro_svi(*make_pair(), images, DRAWS, store=str(tmp_path / "p.zarr"), **OPTIONS)
    for group, variable in (
        ("posterior", "z"),
        ("log_likelihood", "x"),
        ("observed_data", "x"),
        ("sample_stats", "kl"),
    ):
        array = tree[group][variable]
        assert isinstance(array.data, dask.Array)
        assert array.chunksizes["image"] == (8, 8, 7)
        assert all(len(sizes) == 1 for dim, sizes in array.chunksizes.items() if dim != "image")
    few = tree.isel(image=slice(5, 15))
    write_posterior(few, tmp_path / "few.zarr")  # whose chunks the store's do not divide
    np.testing.assert_array_equal(read_posterior(tmp_path / "few.zarr")["posterior"]["z"], few["posterior"]["z"])
    with pytest.raises(UserError, match="no call with store= wrote"):  # a subset is not the whole call's
        from_pyro_svi(*make_pair(), images, DRAWS, store=tmp_path / "few.zarr", **OPTIONS)


@pytest.fixture(scope="module")
def expected() -> xr.DataTree:
    """Of these images by this pair, in memory."""
    return from_pyro_svi(*make_pair(), make_images(), DRAWS, **OPTIONS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The store of a call that nothing befell."""
    path = tmp_path_factory.mktemp("whole") / "whole.zarr"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streaming, "BLOCK", BLOCK)
        from_pyro_svi(*make_pair(), make_images(), DRAWS, store=path, **OPTIONS)
    return path


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """The store of a call that failed on its third chunk."""
    (model, guide), path = make_pair(), tmp_path_factory.mktemp("begun") / "begun.zarr"
    (model, guide), path = make_pair(), tmp_path_factory.mktemp("begun") / "begun.zarr"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streaming, "BLOCK", BLOCK)
        with Stumbles(guide.encoder, 4), pytest.raises(ZeroDivisionError):
            from_pyro_svi(model, guide, make_images(), DRAWS, store=path, **OPTIONS)
    return path


@pytest.mark.parametrize(
    ("chunks", "written"), [(-1, None), (0, 0), (1, 0), pytest.param(2, 8, marks=pytest.mark.long), (5, 16)]
)
def test_a_failed_export_continues_with_the_same_numbers(chunks, written, images, tmp_path, whole, expected):
    model, guide = make_pair()
    broken = tmp_path / "broken.zarr"
    before = 2  # calls that check the pair and shape the store
    with Stumbles(guide.encoder, before + chunks), pytest.raises(ZeroDivisionError):
        from_pyro_svi(model, guide, images, DRAWS, store=broken, **OPTIONS)
    assert broken.exists() == (written is not None)
    if written is not None:
        with pytest.raises(UserError, match=f"unfinished, {written} of 23 images: make the same") as caught:
            read_posterior(broken)
        assert "\n" not in str(caught.value)
    with Stumbles(guide.encoder) as counted:
        tree = from_pyro_svi(model, guide, images, DRAWS, store=broken, **OPTIONS)
    assert counted.made == 1 + (written is None) + 6 - (written or 0) // CHUNK  # finished blocks are kept
    assert_same(tree, expected)
    assert files_of(broken) == files_of(whole)


KILLED = """
import os, runpy, signal
from ppvae import from_pyro_svi
from ppvae.posterior import streaming

test = runpy.run_path({test!r})
streaming.BLOCK = test["BLOCK"]
model, guide = test["make_pair"]()
calls = []

def kill(*_):
    calls.append(1)
    if len(calls) == 2 + 5:
        os.kill(os.getpid(), signal.SIGKILL)

guide.encoder.register_forward_pre_hook(kill)
from_pyro_svi(model, guide, test["make_images"](), test["DRAWS"], store={store!r}, **test["OPTIONS"])
"""


def test_a_killed_process_leaves_a_store_that_continues(images, tmp_path, whole, expected, forked):
    """SIGKILL while the fifth chunk is computed: two blocks may be written, in whole or in part."""
    path = tmp_path / "killed.zarr"
    assert forked(tmp_path, KILLED.format(test=__file__, store=str(path))).returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="unfinished"):
        read_posterior(path)
    (path / "posterior" / "z" / "c.0123.partial").write_bytes(b"half")  # as Zarr leaves them behind
    model, guide = make_pair()
    assert_same(from_pyro_svi(model, guide, images, DRAWS, store=path, **OPTIONS), expected)
    assert files_of(path) == files_of(whole)


def test_a_finished_store_is_opened_as_it_is(images, whole, expected):
    model, guide = make_pair()
    with Stumbles(guide.encoder) as counted:
        again = from_pyro_svi(model, guide, images, DRAWS, store=whole, **OPTIONS)
    assert counted.made == 1  # the check of the pair
    assert_same(again, expected)


def other_weights(model: nn.Module, guide: nn.Module, images: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    with torch.no_grad():
        guide.loc.bias[0] += 1e-6
    return images


def other_image(model: nn.Module, guide: nn.Module, images: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    images = images.clone()
    images[17, 0, 3, 3] += 1e-6
    return images


def other_scale(model: nn.Module, guide: nn.Module, images: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    model.prior.scale.mul_(2)
    return images


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 6}, "seed=5, now it is 6"),
        ({"num_samples": 4}, "draws=3, now it is 4"),
        ({"batch_size": 24}, "images per chunk=4, now it is 8"),
        ({"log_likelihood": False}, "log_likelihood=True, now it is False"),
        ({"coords": {"latent": ["a", "b"]}}, "labels="),
        (other_weights, "weights="),
        (other_scale, "weights="),
        (other_image, "pixels="),
        (lambda _model, _guide, images: images[:20], "images=23, now it is 20"),
    ],
)
@pytest.mark.parametrize("store", ["whole", "begun"])
def test_a_store_of_another_call_is_refused(change, name, store, images, request):
    (model, guide), path = make_pair(), request.getfixturevalue(store)
    options = {"num_samples": DRAWS, "store": path, **OPTIONS}
    before = files_of(path)
    if callable(change):
        images = change(model, guide, images)
    else:
        options |= change
    with pytest.raises(UserError, match=name) as caught:
        from_pyro_svi(model, guide, images, **options)
    assert "\n" not in str(caught.value)
    assert files_of(path) == before


def written_guide(loc):
    def guide(images):
        with pyro.plate("image", len(images), dim=-1):
            z = dist.Normal(loc(images.flatten(1)), 1.0).to_event(1)
            pyro.sample("z", z, infer={"event_dims": ["latent"]})

    return guide


def test_what_a_closure_holds_is_part_of_the_pair(images, tmp_path):
    """Neither its name nor a module's weights tell these guides apart; only running them does."""
    model, network = make_pair()[0], nn.Linear(64, 2)
    options = {"num_samples": DRAWS, "store": tmp_path / "p.zarr", **OPTIONS}
    first = from_pyro_svi(model, written_guide(lambda x: network(x)), images, **options).load()
    again = from_pyro_svi(model, written_guide(lambda x: network(x)), images, **options)
    assert_same(again, first)
    with pytest.raises(UserError, match="of another pair") as caught:
        from_pyro_svi(model, written_guide(lambda x: 1 + network(x)), images, **options)
    assert "\n" not in str(caught.value)
    with torch.no_grad():
        network.bias += 0.01  # as after some steps of plain torch
    with pytest.raises(UserError, match="of another pair"):
        from_pyro_svi(model, written_guide(lambda x: network(x)), images, **options)


def test_the_closure_of_a_model_counts_too(images, tmp_path):
    def model_of(scale):
        def model(images):
            with pyro.plate("image", len(images), dim=-1):
                pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"event_dims": ["latent"]})
                pyro.sample("x", dist.Normal(torch.zeros(SHAPE), scale).to_event(3), obs=images)

        return model

    guide, options = make_pair()[1], {"num_samples": DRAWS, "store": tmp_path / "p.zarr", **OPTIONS}
    from_pyro_svi(model_of(1.0), guide, images, **options)
    with pytest.raises(UserError, match="of another pair"):
        from_pyro_svi(model_of(1.1), guide, images, **options)


class Holder(nn.Module):
    """A module whose method is the guide, as in Pyro's tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Linear(64, 2)

    def guide(self, images):
        written_guide(self.loc)(images)


def test_a_bound_methods_module_is_part_of_the_pair(images, tmp_path):
    model, holder = make_pair()[0], Holder()
    images[:, 0, 0, 0] = 0.0  # so that no run shows the first weight
    options = {"num_samples": DRAWS, "store": tmp_path / "p.zarr", **OPTIONS}
    from_pyro_svi(model, holder.guide, images, **options)
    with torch.no_grad():
        holder.loc.weight[0, 0] += 1
    with pytest.raises(UserError, match="weights="):
        from_pyro_svi(model, holder.guide, images, **options)


@pytest.mark.parametrize(("share", "same"), [(1e-6, True), (1e-2, False)])
def test_a_run_is_compared_but_for_rounding(share, same, images, tmp_path):
    """Another number of threads adds up in another order: 1e-6 of float32 numbers, no other posterior."""
    model, network = make_pair()[0], nn.Linear(64, 2)
    options = {"num_samples": DRAWS, "store": tmp_path / "p.zarr", **OPTIONS}
    from_pyro_svi(model, written_guide(lambda x: network(x)), images, **options)

    def again():
        return from_pyro_svi(model, written_guide(lambda x: (1 + share) * network(x)), images, **options)

    if same:
        assert again()["posterior"].sizes["image"] == IMAGES
    else:
        with pytest.raises(UserError, match="of another pair"):
            again()


@pytest.mark.parametrize("there", ["a posterior", "a folder", "a file"])
def test_what_is_no_stream_is_refused(there, images, tmp_path):
    path = tmp_path / "p.zarr"
    if there == "a posterior":
        write_posterior(from_pyro_svi(*make_pair(), images, DRAWS), path)
    elif there == "a folder":
        path.mkdir()
    else:
        path.write_text("text")
    with pytest.raises(UserError, match=r"p\.zarr") as caught:
        from_pyro_svi(*make_pair(), images, DRAWS, store=path)
    assert "\n" not in str(caught.value)


def test_a_dataset_streams_as_its_images(tmp_path):
    """Dynamically binarised: the noise is the image's own, so chunks see what the whole sees."""
    data = ImageDataset(torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8), {"digit": np.arange(IMAGES) % 2})
    data = ImageDataset(data.stored(), data.factors, binarise="dynamic")
    pair = make_pair()
    options = {**OPTIONS, "constant_data": data.factors}
    stored = from_pyro_svi(*pair, data, DRAWS, store=tmp_path / "p.zarr", **options)
    assert_same(stored, from_pyro_svi(*pair, data.observed(slice(None), OPTIONS["seed"]), DRAWS, **options))
    assert_same(stored, from_pyro_svi(*pair, data, DRAWS, **options))
    other = ImageDataset(data.stored(), data.factors, binarise="none")
    with pytest.raises(UserError, match="pixels="):
        from_pyro_svi(*pair, other, DRAWS, store=tmp_path / "p.zarr", **options)


def test_images_drawn_on_demand_are_told_apart(tmp_path):
    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, (3, 32, 32), hidden=[4]), scale=0.3))
    guide = MeanFieldNormal(MLPEncoder((3, 32, 32), hidden=[4]), 2)
    first, other = (sprites(9, seed=seed, image_size=32) for seed in (0, 1))
    from_pyro_svi(model, guide, first, 2, store=tmp_path / "p.zarr")
    from_pyro_svi(model, guide, sprites(9, seed=0, image_size=32), 2, store=tmp_path / "p.zarr")
    with pytest.raises(UserError, match="pixels="):
        from_pyro_svi(model, guide, other, 2, store=tmp_path / "p.zarr")


@pytest.mark.parametrize("kind", ["normal", "normal_gamma"])
def test_without_the_likelihood_no_decoder_runs(kind, images):
    """The same draws, moments and KLs; log p and the ELBO, which need the decoder, are left out."""
    model, guide = make_pair(kind)
    full = from_pyro_svi(model, guide, images, DRAWS, **OPTIONS)
    with Stumbles(model.likelihood.decoder) as decoder:
        short = from_pyro_svi(model, guide, images, DRAWS, log_likelihood=False, prior=False, **OPTIONS)
    assert decoder.made == 1  # the check of the pair
    assert set(short.children) == {"posterior", "sample_stats", "observed_data"}
    for group in ("posterior", "observed_data"):
        assert short[group].to_dataset().identical(full[group].to_dataset())
    assert set(full["sample_stats"].data_vars) - set(short["sample_stats"].data_vars) == {"log_p", "elbo"}
    assert "log_prior" in full.children
    for name, variable in short["sample_stats"].data_vars.items():
        np.testing.assert_array_equal(variable, full["sample_stats"][name])
    bare = from_pyro_svi(model, guide, images, DRAWS, log_likelihood=False, observed_data=False, **OPTIONS)
    assert set(bare.children) == {"posterior", "sample_stats", "prior"}


def test_every_chunk_has_a_stream_of_its_own(images):
    """Chunks do not repeat each other's draws, and do not depend on how many come before or after them."""
    pair = make_pair()
    whole = from_pyro_svi(*pair, images, DRAWS, **OPTIONS)
    short = from_pyro_svi(*pair, images[:12], DRAWS, **OPTIONS)
    np.testing.assert_array_equal(short["posterior"]["z"], whole["posterior"]["z"][:, :, :12])
    statistics = whole["sample_stats"]
    noise = (whole["posterior"]["z"] - statistics["z_mean"]) / statistics["z_variance"] ** 0.5
    chunks = [noise.isel(image=slice(start, start + CHUNK)).values.ravel() for start in (0, 4, 8, 12, 16)]
    assert np.abs(np.corrcoef(chunks) - np.eye(5)).max() < 0.75  # of 24 numbers; equal streams give one


def test_a_store_needs_images(tmp_path):
    with pytest.raises(UserError, match="write_posterior"):
        from_pyro_svi(lambda: None, lambda: None, store=tmp_path / "p.zarr")
