"""The parts of a deep hierarchy: its shape in one line, its cells' weights, the ways down, up and out."""

import pytest
import torch
from torch import nn

from ppvae.errors import UserError
from ppvae.networks.hierarchy import (
    CELLS,
    BottleneckCell,
    BottomUp,
    EncoderCell,
    GenerativeCell,
    HierarchyDecoder,
    Scale,
    SqueezeExcite,
    TopDown,
    groups_per_scale,
    read_hierarchy,
)
from ppvae.networks.hierarchy.bottom_up import cosines
from ppvae.networks.hierarchy.scales import padded_size, widths_of

SHAPE = (1, 28, 28)
LINE = "4x4:1 8x8:2"


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_line_says_the_scales_from_the_top():
    assert read_hierarchy("4x4:5 8x8:10 16x16:20") == (Scale(4, 4, 5), Scale(8, 8, 10), Scale(16, 16, 20))
    assert read_hierarchy(" 3x4:1  12x16:2 ") == (Scale(3, 4, 1), Scale(12, 16, 2))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", "expected scales from the top"),
        ("4x4", "'4x4': expected scales"),
        ("4x4:0", "'4x4:0': expected scales"),
        ("4x4:1,8x8:2", "expected scales"),
        ("4x4:-1", "expected scales"),
        ("8x8:1 4x4:1", "4x4 after 8x8 is not larger"),
        ("4x4:1 4x4:2", "is not larger; give the scales from the top, the smallest first, each once"),
        ("5x5:1 8x8:1", "8x8 after 5x5 is no multiple"),
        ("2x4:1 4x12:1", "grows unlike in rows and columns"),
        (7, "expected scales"),
    ],
)
def test_a_bad_line_names_its_fault(line, fault):
    with pytest.raises(UserError, match=fault) as caught:
        read_hierarchy(line)
    assert "\n" not in str(caught.value)


def test_groups_are_halved_scale_by_scale():
    """CelebA 64 in the paper: 20 groups at 32 × 32, 10 at 16 × 16, 5 at 8 × 8; MNIST 10 and 5."""
    assert groups_per_scale(20, 3) == (5, 10, 20)
    assert groups_per_scale(10, 2) == (5, 10)
    assert groups_per_scale(4, 4) == (1, 1, 2, 4)
    assert groups_per_scale(16, 5, least=4) == (4, 4, 4, 8, 16)
    with pytest.raises(UserError, match="finest"):
        groups_per_scale(0, 2)


def test_channels_widen_for_each_halving():
    assert widths_of(read_hierarchy("2x2:1 4x4:1 16x16:1"), 8, 2) == (64, 32, 8)
    assert widths_of(read_hierarchy("2x2:1 4x4:1 16x16:1"), 8, 1) == (8, 8, 8)


def test_images_are_padded_to_the_finest_scale_doubled():
    assert padded_size(Scale(8, 8, 1), SHAPE) == (32, 32, 2)
    assert padded_size(Scale(7, 7, 1), SHAPE) == (28, 28, 2)
    assert padded_size(Scale(16, 16, 1), (3, 64, 64)) == (64, 64, 2)
    assert padded_size(Scale(6, 8, 1), (3, 48, 64)) == (48, 64, 3)
    with pytest.raises(UserError, match="larger than the images, 28x28"):
        padded_size(Scale(32, 32, 1), SHAPE)
    with pytest.raises(UserError, match="padded to 64x64; give scales of the images' proportion"):
        padded_size(Scale(8, 8, 1), (1, 64, 20))


@pytest.mark.parametrize(("channels", "expansion"), [(16, 6), (40, 3)])
def test_weights_of_a_depthwise_separable_cell(channels, expansion):
    """25·E·C depthwise and 2·E·C² of the two 1 × 1, norms of 2 (2C + 2EC), gates 2·C·h + C + h; a full 5 × 5 would
    have 25·(E·C)²."""
    wide, hidden = expansion * channels, 4
    expected = (
        25 * wide + 2 * wide * channels + 2 * (2 * channels + 2 * wide) + 2 * channels * hidden + channels + hidden
    )
    assert parameters(GenerativeCell(channels, expansion)) == expected


def test_weights_of_the_other_cells():
    channels, narrow, hidden = 16, 4, 4
    gates = 2 * channels * hidden + channels + hidden
    assert parameters(EncoderCell(channels)) == 2 * 9 * channels**2 + channels + 4 * channels + gates
    between = 2 * (9 * narrow**2 + narrow)
    assert parameters(BottleneckCell(channels)) == 2 * channels * narrow + narrow + channels + between


def test_gates_are_of_each_channel_as_a_whole():
    gated = SqueezeExcite(32)
    x = torch.randn(2, 32, 5, 6)
    share = gated(x) / x
    assert share.flatten(2).std(-1).max() < 1e-5
    assert ((share > 0) & (share < 1)).all()
    assert gated.gates[0].out_features == 4
    assert SqueezeExcite(128).gates[0].out_features == 8


@pytest.mark.parametrize("cell", CELLS)
def test_cells_begin_near_the_identity_and_see_what_is_around(cell):
    """Each place sees at least the five by five around it; what a cell adds is small beside its input."""
    for make in CELLS[cell]:
        module = make(8).double().eval()
        x = torch.randn(1, 8, 9, 9, dtype=torch.double, requires_grad=True)
        y = module(x)
        assert (y - x).std() < 0.5 * x.std()
        (gradient,) = torch.autograd.grad(y[0, :, 4, 4].sum(), x)
        assert (gradient.abs().sum((0, 1))[2:7, 2:7] > 0).all()


@pytest.mark.parametrize("cell", CELLS)
def test_the_ways_meet_at_each_group(cell):
    options = {"channels": 8, "cell": cell}
    down, up = TopDown(LINE, latents=3, **options), BottomUp(LINE, SHAPE, **options)
    asked = []

    def draw(group, features, raw):
        asked.append((group, tuple(features.shape[-3:]), tuple(raw[0].shape[-3:])))
        return torch.randn(5, 2, 3, *features.shape[-2:])

    features = down.walk(draw)
    assert asked == [(0, (16, 4, 4), (3, 4, 4)), (1, (8, 8, 8), (3, 8, 8)), (2, (8, 8, 8), (3, 8, 8))]
    assert features.shape == (5, 2, *down.map_shape)
    seen = up(torch.rand(5, 2, *SHAPE))
    assert [tuple(one.shape) for one in seen] == [(5, 2, 16, 4, 4), (5, 2, 8, 8, 8), (5, 2, 8, 8, 8)]
    assert up.group_shapes == down.group_shapes == ((16, 4, 4), (8, 8, 8), (8, 8, 8))
    out = HierarchyDecoder(LINE, SHAPE, maps=4, **options)
    assert out.map_shape == down.map_shape
    assert out(features).shape == (5, 2, 4, 28, 28)


def test_the_padding_has_no_say_in_the_likelihood():
    """What the decoder crops away cannot be told from its output, and every pixel of the image can."""
    torch.manual_seed(0)
    out = HierarchyDecoder("8x8:1", SHAPE, channels=4, cells=0)
    whole = out.out(nn.functional.elu(out.growing(torch.randn(1, *out.map_shape))))
    assert whole.shape[-2:] == (32, 32)
    assert out.padding == (2, 2, 2, 2)
    torch.manual_seed(0)
    assert out(torch.zeros(1, *out.map_shape)).shape == (1, 1, 28, 28)


def test_every_image_pixel_reaches_every_group():
    up = BottomUp("2x2:1 4x4:1", (1, 8, 8), channels=4, cell="vdvae").double()
    images = torch.rand(1, 1, 8, 8, dtype=torch.double, requires_grad=True)
    for features in up(images):
        (gradient,) = torch.autograd.grad(features.sum(), images, retain_graph=True)
        assert (gradient != 0).all()


def test_a_top_of_cosines_sees_what_is_coarse_alone():
    """Rows are orthogonal, a constant keeps its size, and a wave finer than the map leaves the first group as it is."""
    rows = cosines(8, 4).double()
    torch.testing.assert_close(rows @ rows.T, 0.5 * torch.eye(4).double(), rtol=0, atol=1e-6)
    torch.manual_seed(0)
    up = BottomUp("2x2:1 4x4:1", (1, 8, 8), channels=4, cell="vdvae", top="dct")
    images = torch.rand(3, 1, 8, 8)
    wave = torch.cos(torch.pi * 5 * (torch.arange(8) + 0.5) / 8)[:, None].expand(8, 8)
    (first, second), (same, other) = up(images), up(images + wave)
    torch.testing.assert_close(first, same, rtol=0, atol=1e-5)
    assert (second - other).abs().max() > 1e-3
    assert (up(images + 0.1)[0] - first).abs().max() > 1e-3
    assert first.shape == (3, 8, 2, 2)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: TopDown(LINE, cell="nave"), "cell='nave': expected one of nvae, residual, vdvae"),
        (lambda: TopDown(LINE, latents=0), "latents"),
        (lambda: TopDown(LINE, cells=-1), "cells"),
        (lambda: TopDown(LINE, channels=0), "channels"),
        (lambda: BottomUp("64x64:1", SHAPE), "larger than the images"),
        (lambda: BottomUp(LINE, SHAPE, top="cosine"), "top='cosine': expected one of network, dct"),
        (lambda: HierarchyDecoder(LINE, SHAPE, maps=0), "maps"),
        (lambda: HierarchyDecoder(LINE, (28, 28)), "image_shape"),
    ],
)
def test_wrong_arguments(make, fault):
    with pytest.raises(UserError, match=fault):
        make()
