"""What a dataset says of its pixels, and what a likelihood gets to see of them."""

import numpy as np
import pytest
import torch

from guides import MeanFieldNormal
from ppvae import VAE, UserError, fit
from ppvae.datasets import ImageDataset, RenderedImages, StoredImages, sprites
from ppvae.likelihoods import CategoricalLikelihood, NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior

OPTIONS = [{"binarise": "static", "threshold": 0.3}, {"binarise": "dynamic"}, {"dequantise": "uniform"}, {}]


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(256, (12, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def bits(pixels) -> torch.Tensor:
    return (pixels > 127).to(torch.uint8) * 255


def test_kind_is_read_off_the_pixels(pixels, bits):
    assert ImageDataset(pixels).kind == "8-bit"
    assert ImageDataset(bits).kind == "binary"
    assert ImageDataset(bits / 255).kind == "binary"
    assert ImageDataset(np.zeros((2, 1, 3, 3))).kind == "binary"
    almost = bits.repeat(200, 1, 1, 1)
    almost[-1, 0, 5, 5] = 254
    assert ImageDataset(almost).kind == "8-bit"
    almost[-1, 0, 5, 5] = 1
    assert ImageDataset(almost).kind == "8-bit"


def test_lazy_images_are_grey_unless_told(bits):
    lazy = [RenderedImages(lambda rows: bits[rows], torch.arange(12), (1, 6, 6), told) for told in (False, True)]
    assert [ImageDataset(images).kind for images in lazy] == ["8-bit", "binary"]
    assert [ImageDataset(images).subset([1]).kind for images in lazy] == ["8-bit", "binary"]
    assert ImageDataset(lazy[0]).resident().kind == "binary"


def test_a_subset_is_of_the_kind_of_the_whole(pixels):
    pixels[3] = 255
    assert ImageDataset(pixels).subset([3]).kind == "8-bit"


@pytest.mark.parametrize(
    ("options", "kind"), list(zip(OPTIONS, ["binary", "binary", "real", "8-bit"], strict=True)), ids=str
)
def test_conversion_decides_the_kind_and_survives_a_subset(pixels, options, kind):
    data = ImageDataset(pixels, name="toy", **options)
    for part in (data, data.subset([5, 2]), data.subset([5, 2]).resident()):
        assert part.kind == kind
        assert part.conversion == data.conversion
    assert torch.equal(data.images[:], pixels.float() / 255)  # what is stored stays as it is


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_observed_is_the_conversion_of_the_pixels(pixels, options):
    data = ImageDataset(pixels, **options)
    images, grey = data.observed(), pixels.float() / 255
    if data.kind == "real":
        assert torch.equal((images * 256).floor().to(torch.uint8), pixels)
    elif options.get("binarise") == "dynamic":
        assert ((images == 0) | (images == 1)).all()
        differ = (images - grey.round()).abs().mean() - torch.minimum(grey, 1 - grey).mean()
        assert differ.abs() < 5 * 0.5 / grey.numel() ** 0.5  # 5 standard errors, at most
    else:
        assert torch.equal(images, (grey > 0.3).float() if options else grey)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_observed_depends_on_seed_and_image_alone(pixels, options):
    data = ImageDataset(pixels, **options)
    state = torch.get_rng_state()
    images = data.observed(seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.cat([data.observed(slice(0, 5), seed=3), data.observed(slice(5, 12), seed=3)]), images)
    assert torch.equal(data.subset([7, 2]).observed(seed=3), images[[7, 2]])
    assert torch.equal(data.observed(seed=4), images) != data.conversion.random


def test_noise_of_images_is_independent(within_errors):
    """Fair pixels: over pairs of images or of seeds, half of the pixels agree."""
    fair = ImageDataset(torch.full((40, 1, 20, 20), 128, dtype=torch.uint8), dequantise="uniform")
    first, other = ((fair.observed(seed=seed) * 256 - 128).flatten(1) for seed in (0, 1))
    for one, two in ((first[:-1], first[1:]), (first, other)):
        products = ((one - 0.5) * (two - 0.5)).flatten()
        assert abs(products.mean()) < 5 / 12 / len(products) ** 0.5  # 5 standard errors: the standard deviation is 1/12
    within_errors(first.flatten()[:, None], 0.5, resolution=0.03)
    shared = set(first[0].tolist()) & set(first[1].tolist())  # 400²/2^16 = 2.4 by chance; a shifted stream: hundreds
    assert len(shared) < 20


def test_batches_are_converted_and_follow_the_seed(pixels):
    data = ImageDataset(pixels, binarise="dynamic")
    first, again, other = (torch.cat(list(data.batches(4, seed=seed))) for seed in (1, 1, 2))
    assert ((first == 0) | (first == 1)).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    one, two = (torch.cat(list(data.batches(4))) for _ in range(2))
    torch.manual_seed(0)
    assert torch.equal(torch.cat(list(data.batches(4))), one)
    assert not torch.equal(one, two)
    assert torch.equal(torch.cat(list(ImageDataset(pixels, binarise="static").batches(4))), (pixels > 127).float())


def test_seeded_batches_leave_the_global_generator_alone(pixels):
    before = torch.get_rng_state()
    list(ImageDataset(pixels, dequantise="uniform").batches(4, seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_everything_names_what_is_seen(pixels):
    data = ImageDataset(pixels, name="toy", binarise="dynamic")
    assert data.description == "toy, 12 images 1×6×6, binarised dynamically"
    assert data.description in repr(data)
    attrs = data.to_xarray().attrs
    assert (attrs["kind"], attrs["binarise"], attrs["dequantise"]) == ("binary", "dynamic", "none")
    assert attrs["description"] == data.description
    np.testing.assert_array_equal(data.to_xarray()["images"], pixels / np.float32(255))


def test_sprites_take_a_conversion():
    plain, dequantised = (sprites(4, image_size=32, dequantise=how) for how in ("none", "uniform"))
    assert (plain.kind, dequantised.kind) == ("8-bit", "real")
    assert torch.equal((dequantised.observed() * 256).floor().to(torch.uint8), plain.stored())
    assert isinstance(dequantised.images, StoredImages)


def test_real_pixels_reach_a_pair_as_they_are(pixels):
    """Trained, validated and batched on the floats themselves; a likelihood of 256 levels refuses them."""
    floats = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    data = ImageDataset(floats, {"age": torch.linspace(0.1, 1, 24).numpy()}, real=True)
    assert data.kind == "real"
    assert torch.equal(data.observed(), floats)
    assert torch.equal(next(data.batches(24)), floats)
    assert torch.equal(data.subset([5, 2]).resident().images[:], floats[[5, 2]])
    assert torch.equal(torch.from_numpy(data.to_xarray()["images"].values), floats)
    np.testing.assert_allclose(ImageDataset(pixels, real=True).images[:], pixels / 255)
    seen = []

    class Seeing(MLPEncoder):
        def forward(self, images):
            seen.append(images.detach().clone())
            return super().forward(images)

    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, (1, 6, 6), (8,)), scale=0.1))
    history = fit(
        model, MeanFieldNormal(Seeing((1, 6, 6), (8,)), 2), data, epochs=1, batch_size=24, compile=False, progress=False
    )
    assert np.isfinite(history["loss"].values).all()
    whole = [images.sort(0).values for images in seen if images.shape == floats.shape]
    assert any(torch.equal(images, floats.sort(0).values) for images in whole)
    model = VAE(NormalPrior(2), CategoricalLikelihood(MLPDecoder(2, (1, 6, 6), (8,), maps=256)))
    with pytest.raises(UserError, match="these are real"):
        fit(model, MeanFieldNormal(MLPEncoder((1, 6, 6), (8,)), 2), data, epochs=1)


def test_a_continuous_factor_is_given_as_its_numbers(pixels):
    ages = np.linspace(0.1, 1, 12)
    data = ImageDataset(pixels, {"age": ages, "digit": np.arange(12) % 3}).with_inputs("age", "digit")
    age, digit = data.given([3, 1])
    torch.testing.assert_close(age, torch.tensor(ages[[3, 1]], dtype=torch.float32))
    assert digit.tolist() == [0, 1]
    whole = ImageDataset(pixels, {"age": np.array([0.5] * 6 + [1.0] * 6)})
    assert whole.subset(slice(6, 12)).factors["age"].dtype.kind == "f"  # though its numbers are whole there
