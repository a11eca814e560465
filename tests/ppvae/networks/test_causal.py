"""Which pixels a causal network sees, by automatic differentiation of a random one."""

import itertools

import pytest
import torch

from ppvae.errors import UserError
from ppvae.networks.causal import CAUSAL_NETWORKS, PixelAttention
from ppvae.networks.causal.windows import reaches

ROWS = COLUMNS = 5
WINDOWS = [None, (0, 1), (0, 3), (1, 1), (1, 3), (2, 3), (2, 5), (5, 1), (5, 5)]


def network(channels: int = 1, *, causal: str = "gated", **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return CAUSAL_NETWORKS[causal]((channels, ROWS, COLUMNS), 3, channels=8, **{"layers": 4, **options}).double()


def inputs(channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """An image and its context."""
    torch.manual_seed(1)
    context = torch.randn(1, 3, ROWS, COLUMNS, dtype=torch.float64)
    return torch.rand(1, channels, ROWS, COLUMNS, dtype=torch.float64), context


def dependence(net: torch.nn.Module, channels: int) -> torch.Tensor:
    """Whether any feature at a pixel has a derivative in another pixel, (pixel, other pixel)."""
    image, context = inputs(channels)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, context).square().sum((0, 1)), image)
    seen = (jacobian != 0).any(2).any(2)  # (row, column, other row, other column)
    return seen.reshape(ROWS * COLUMNS, ROWS * COLUMNS)


def expected(window: tuple[int, int] | None) -> torch.Tensor:
    """VLAE's definition, written out pixel by pixel."""
    seen = torch.zeros(ROWS, COLUMNS, ROWS, COLUMNS, dtype=torch.bool)
    for row, column, above, beside in itertools.product(range(ROWS), range(COLUMNS), range(ROWS), range(COLUMNS)):
        if window is None:
            inside = above < row or (above == row and beside < column)
        else:
            height, half = window[0], (window[1] - 1) // 2
            block = row - height <= above < row and abs(beside - column) <= half
            inside = block or (above == row and column - half <= beside < column)
        seen[row, column, above, beside] = inside
    return seen.reshape(ROWS * COLUMNS, ROWS * COLUMNS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("tied", [False, True])
def test_a_pixel_sees_its_window_exactly(window, channels, tied):
    assert torch.equal(dependence(network(channels, window=window, tied=tied), channels), expected(window))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layers", [1, 2])
def test_attention_sees_all_pixels_before_and_no_other(channels, layers):
    net = network(channels, causal="attention", layers=layers)
    assert torch.equal(dependence(net, channels), expected(None))


@pytest.mark.parametrize("layers", [1, 2, 3, 7])
def test_layers_share_a_window_whatever_their_number(layers):
    assert torch.equal(dependence(network(window=(3, 5), layers=layers), 1), expected((3, 5)))


@pytest.mark.parametrize(("causal", "window"), [("gated", (2, 3)), ("attention", None)])
def test_the_grey_window_sees_grey_alone(causal, window):
    net = network(3, causal=causal, window=window, grey=True)
    torch.manual_seed(2)
    image, context = torch.rand(1, 3, ROWS, COLUMNS, dtype=torch.float64), torch.randn(1, 3, ROWS, COLUMNS).double()
    shift = torch.tensor([0.587, -0.299, 0.0]).double()[:, None, None]  # the grey value stays
    assert torch.allclose(net(image + shift, context), net(image, context), atol=1e-12)
    assert not torch.allclose(net(image + shift.flip(0), context), net(image, context), atol=1e-3)
    with pytest.raises(UserError, match=r"^grey=True: images have 1 channels; expected red, green and blue$"):
        network(1, causal=causal, grey=True)


@pytest.mark.parametrize(("causal", "window"), [*(("gated", w) for w in (None, (0, 1), (2, 3))), ("attention", None)])
def test_the_context_enters_at_its_own_pixel_and_at_none_in_rows_before(causal, window):
    net = network(causal=causal, window=window)
    context = torch.randn(1, 3, ROWS, COLUMNS, dtype=torch.float64)
    image = torch.rand(1, 1, ROWS, COLUMNS, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda c: net(image, c).square().sum((0, 1)), context)
    seen = (jacobian != 0).any(2)  # (row, column, map, row, column)
    assert seen.movedim(2, -1).reshape(25, 25, 3).diagonal().all()
    rows = torch.arange(ROWS)
    assert not seen.any(2).movedim(2, 1)[rows[:, None] < rows].any()


@pytest.mark.parametrize(("causal", "window"), [("gated", (2, 3)), ("attention", None)])
def test_a_hidden_pixel_is_as_no_pixel(causal, window):
    net = network(causal=causal, window=window)
    context = torch.randn(2, 3, ROWS, COLUMNS, dtype=torch.float64)
    images, seen = torch.rand(2, 1, ROWS, COLUMNS, dtype=torch.float64), torch.ones(2, 1, ROWS, COLUMNS).double()
    seen[:, :, 1, 2] = 0
    changed = images.clone()
    changed[:, :, 1, 2] = 0.1
    assert torch.equal(net(images, context, seen), net(changed, context, seen))
    assert not torch.equal(net(images, context, seen), net(images, context))


def test_tied_layers_have_one_set_of_weights():
    net = network(tied=True)  # the first layer, and all after it
    assert len(net.stack) == 2
    assert net.order == [0, 1, 1, 1]
    assert [reach.dilation for reach in net.reaches] == [1, 2, 4, 1]
    assert len(network().stack) == 4
    assert len(network(causal="attention", tied=True).stack) == 1
    assert not torch.equal(
        *(one(*inputs()) for one in (network(causal="attention", tied=True, layers=n) for n in (1, 2)))
    )


def test_attention_refuses_in_one_line_what_it_cannot_do():
    with pytest.raises(
        UserError, match=r"^window=\(2, 3\): attention sees all the past; give null, or a window to caus"
    ):
        network(causal="attention", window=(2, 3))
    with pytest.raises(UserError, match=r"^channels=6: expected a multiple of the 4 heads of attention$"):
        PixelAttention((1, 5, 5), 3, channels=6)
    with pytest.raises(UserError, match=r"^heads="):
        PixelAttention((1, 5, 5), 3, heads=0)


def test_attention_tells_places_apart():
    """An image of one colour and one context everywhere: only the embeddings of rows and columns differ."""
    features = network(causal="attention")(torch.zeros(1, 1, 5, 5).double(), torch.zeros(1, 3, 5, 5).double())
    distances = torch.pdist(features[0].flatten(1).T)
    assert distances.min() > 1e-3


@pytest.mark.parametrize(
    ("window", "layers", "said"),
    [
        ((2, 4), 4, r"^window=\[2, 4\]: expected \(height, width\): a height of 0 to 28 rows above, an odd width"),
        ((-1, 3), 4, r"^window=\[-1, 3\]: expected"),
        ((29, 3), 4, r"^window=\[29, 3\]: expected"),
        ((2, 29), 4, r"^window=\[2, 29\]: expected"),
        ((2, 0), 4, r"^window=\[2, 0\]: expected"),
        ((2, 3, 4), 4, r"^window=\(2, 3, 4\): expected .*; or null for the full past$"),
        ("23", 4, r"^window='23': expected"),
        ((2.0, 3), 4, r"^window=\(2\.0, 3\): expected"),
        (3, 4, r"^window=3: expected"),
        (None, 4, r"^layers=4: the full past of this image needs at least 5; give these or a window$"),
    ],
    ids=str,
)
def test_wrong_windows_are_refused_in_one_line(window, layers, said):
    with pytest.raises(UserError, match=said) as raised:
        reaches(window, layers, (1, 28, 28))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("size", [28, 32, 64])
def test_the_full_past_takes_few_layers(size):
    """Doubling dilations: layers grow with the logarithm of the image's side."""
    least = {28: 5, 32: 5, 64: 6}[size]
    assert sum(reach.dilation for reach in reaches(None, least, (1, size, size))) >= size - 1
    with pytest.raises(UserError, match=f"needs at least {least}"):
        reaches(None, least - 1, (1, size, size))
