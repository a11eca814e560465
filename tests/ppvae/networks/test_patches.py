"""Networks of patches: blind to their order, and free of charge for it."""

import pytest
import torch

from ppvae import UserError
from ppvae.models.transformations import PatchShuffle
from ppvae.networks import PatchDecoder, PatchEncoder

SHAPE = (3, 8, 12)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_features_do_not_depend_on_the_order_of_the_patches(patch):
    """Sums in another order: float32 rounding alone."""
    encoder = PatchEncoder(SHAPE, patch, (8, 6))
    images = torch.rand(2, 5, *SHAPE)
    features = encoder(images)
    assert features.shape == (2, 5, encoder.features) == (2, 5, 6)
    torch.testing.assert_close(encoder(PatchShuffle(patch)(images)), features, rtol=1e-5, atol=1e-6)
    if patch > 1:  # but on what is inside them
        assert (encoder(PatchShuffle(1)(images)) - features).abs().max() > 1e-4


def test_of_single_pixels_they_are_a_mean_over_colours():
    encoder = PatchEncoder(SHAPE, 1, (8,))
    red, blue = torch.zeros(SHAPE), torch.zeros(SHAPE)
    red[0], blue[2] = 1, 1
    mixed = red.clone()
    mixed[:, :, :3] = blue[:, :, :3]
    wanted = 0.75 * encoder(red) + 0.25 * encoder(blue)
    torch.testing.assert_close(encoder(mixed), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("patch", [1, 4])
def test_every_tile_is_the_same_and_each_reads_the_code(patch):
    decoder = PatchDecoder(5, SHAPE, patch, maps=2)
    maps = decoder(torch.randn(2, 3, 5))
    assert maps.shape == (2, 3, 2, *SHAPE[1:])
    tiles = maps.unflatten(-1, (-1, patch)).unflatten(-3, (-1, patch)).transpose(-3, -2)  # (…, down, across, p, p)
    assert torch.equal(tiles, tiles[..., :1, :1, :, :].expand_as(tiles))
    assert len(maps.flatten(0, 1)[..., 0, 0].unique(dim=0)) == 6


@pytest.mark.parametrize("network", [lambda: PatchEncoder(SHAPE, 3), lambda: PatchDecoder(2, SHAPE, 3)])
def test_tiles_that_do_not_fill_the_image_end_in_one_line(network):
    with pytest.raises(UserError, match="patch=3: tiles do not fill images of 8 × 12"):
        network()
