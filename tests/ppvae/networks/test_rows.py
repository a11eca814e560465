"""Networks of rows: any number of columns, batch dims, gradients everywhere, and gaps that no feature depends on."""

import math
from functools import partial

import pytest
import torch

from ppvae import UserError
from ppvae.networks import MLPEncoder, RowConvDecoder, RowConvEncoder, RowEncoder


@pytest.mark.parametrize("columns", [1, 2, 7, 40])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_any_number_of_columns_is_halved_and_doubled_again(columns, width):
    shape = (1, 1, columns)
    encoder = RowConvEncoder(shape, (4, 6), width)
    decoder = RowConvDecoder(3, shape, (6, 4), width, maps=2)
    for lead in [(), (5,), (2, 5)]:
        assert encoder(torch.randn(*lead, *shape)).shape == (*lead, encoder.features)
        assert decoder(torch.randn(*lead, 3)).shape == (*lead, 2, 1, columns)


def test_every_parameter_gets_a_gradient():
    encoder = RowEncoder((1, 1, 9), partial(RowConvEncoder, channels=(4, 6)))
    decoder = RowConvDecoder(encoder.features, (1, 1, 9), (6, 4))
    decoder(encoder(torch.randn(5, 1, 1, 9))).square().sum().backward()
    assert all(parameter.grad.any() for part in (encoder, decoder) for parameter in part.parameters())


def test_neighbours_alone_are_seen_by_a_convolution():
    """One layer of width 3 and stride 2: feature k is of columns 2k − 1 to 2k + 1."""
    encoder = RowConvEncoder((1, 1, 8), (1,), 3)
    x = torch.randn(1, 1, 1, 8, requires_grad=True)
    slopes = torch.stack([torch.autograd.grad(encoder(x)[0, k], x, retain_graph=True)[0].flatten() for k in range(4)])
    seen = [[column for column in range(8) if row[column] != 0] for row in slopes]
    assert seen == [[0, 1], [1, 2, 3], [3, 4, 5], [5, 6, 7]]


def test_counts_are_seen_by_their_logarithm():
    plain, counts = (RowEncoder((1, 1, 3), partial(MLPEncoder, hidden=(4,)), kind=kind) for kind in ("real", "counts"))
    counts.load_state_dict(plain.state_dict())
    x = torch.tensor([0.0, 7.0, math.nan]).reshape(1, 1, 1, 3)
    assert torch.equal(counts(x), plain(x.log1p()))


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (lambda: RowConvEncoder((1, 2, 8)), r"image_shape is \(1, 2, 8\); convolutions of rows take one line"),
        (lambda: RowConvDecoder(2, (1, 1, 8), width=4), "width=4: expected an odd number of columns, such as 5"),
        (lambda: RowConvEncoder((1, 1, 8), channels=[]), "channels=.*expected a list of whole numbers"),
        (lambda: RowConvDecoder(0, (1, 1, 8)), "latents=0: expected a whole number of at least 1"),
        (lambda: RowEncoder((1, 8)), "image_shape is .*expected .channels, rows, columns."),
    ],
)
def test_sizes_that_cannot_be_end_in_one_line(build, line):
    with pytest.raises(UserError, match=line) as caught:
        build()
    assert "\n" not in str(caught.value)
