"""Latent cards: pictures in the traversal's order, each with its own latent's numbers."""

import numpy as np
import pytest
import xarray as xr

from ppvae import UserError
from ppvae.plots import plot_latent_cards

ORDER = [3, 1, 0, 2]


@pytest.fixture
def traversal() -> xr.DataArray:
    """Latent k moves pixel k alone, from 0 to (k + 1)/4."""
    images = np.zeros((4, 9, 1, 2, 2))
    for row, latent in enumerate(ORDER):
        images[row, :, 0, latent // 2, latent % 2] = np.linspace(0, (latent + 1) / 4, 9)
    return xr.DataArray(images, dims=("latent", "step", "channel", "row", "column"), coords={"latent": ORDER})


@pytest.fixture
def latents() -> xr.Dataset:
    return xr.Dataset(
        {"kl": ("latent", [0.5, 1.5, 2.5, 3.5]), "relative": ("latent", [0.0, 0.1, 2.0, 18.5])},
        coords={"latent": range(4)},
    )


def pictures(figure) -> np.ndarray:
    """Drawn tiles by line and place."""
    axes = figure.axes[0]
    places = len(axes.images) // 4
    return np.array([np.asarray(image.get_array()) for image in axes.images]).reshape(4, places, 2, 2)


def test_rows_are_the_traversals_and_end_with_what_changed(traversal, latents):
    drawn = pictures(plot_latent_cards(traversal, latents))
    assert drawn.shape[1] == 6, "five steps and the change"
    for row, latent in enumerate(ORDER):
        wanted = np.zeros(4)
        wanted[latent] = (latent + 1) / 4
        np.testing.assert_allclose(drawn[row, 4].ravel(), wanted)
        np.testing.assert_allclose(drawn[row, 5].ravel(), wanted / 1.0), "the largest change is at full brightness"
        assert drawn[row, 0].max() == 0


def test_words_are_of_the_same_latent(traversal, latents):
    importance = xr.DataArray(
        [[0.9, 0.0, 0.0, 0.0], [0.1, 0.05, 0.0, 0.4], [0.0, 0.95, 0.0, 0.6]],
        dims=("factor", "latent"),
        coords={"factor": ["hue", "x", "y"], "latent": range(4)},
    )
    figure = plot_latent_cards(traversal, latents, importance)
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts[:2] == ["KL 3.50 nats, error +1850% without it", "follows y 60%, x 40%"]
    assert texts[2:4] == ["KL 1.50 nats, error +10% without it", "follows y 95%"]
    assert texts[4:6] == ["KL 0.500 nats, error +0% without it", "follows hue 90%, x 10%"]
    assert texts[6:] == ["KL 2.50 nats, error +200% without it", "follows no factor"]


def test_no_more_cards_than_asked_for(traversal, latents):
    figure = plot_latent_cards(traversal, latents, most=2)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["z3", "z1"]


@pytest.mark.parametrize("broken", ["traversal", "importance", "most"])
def test_mistakes_end_in_one_line(traversal, latents, broken):
    importance = xr.DataArray(np.ones((2, 4)), dims=("factor", "latent"), coords={"latent": range(4)})
    arguments = {"traversal": traversal, "latents": latents, "importance": importance, "most": 3}
    changes = {"traversal": traversal.isel(step=0), "importance": importance.rename(factor="f"), "most": 0}
    with pytest.raises(UserError, match=broken):
        plot_latent_cards(**{**arguments, broken: changes[broken]})


@pytest.mark.parametrize("shape", [(2, 2), (12, 16), (3, 12), (30, 10)], ids=str)
def test_words_stand_beside_their_pictures_of_any_rectangle(traversal, latents, shape):
    figure = plot_latent_cards(traversal.isel(row=[0] * shape[0], column=[0] * shape[1]), latents)
    figure.draw_without_rendering()
    tiles, words = figure.axes
    for text in words.texts:
        _, height = words.transData.transform(text.get_position())
        assert round(tiles.transData.inverted().transform((0, height))[1]) == round(text.get_position()[1])
    across, up = np.diff(tiles.transData.transform([(0, 0), (1, -1)]), axis=0)[0]
    assert up / across == pytest.approx(shape[0] / shape[1])
