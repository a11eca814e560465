"""Sentences about images, said of rows: articles, capitals and plurals go with the noun, other words stay."""

import pytest

from ppvae.diagnostics.nouns import said_of


@pytest.mark.parametrize(
    ("image", "row"),
    [
        ("an image's own k̂, in 3 of 100 images", "a row's own k̂, in 3 of 100 rows"),
        ("One image redrawn. Images on the way", "One row redrawn. Rows on the way"),
        ("RMSE of a pixel, nats per image", "RMSE of an entry, nats per row"),
        ("squared pixel values of the pixels", "squared entry values of the entries"),
        ("imagenet and pixelated imagery", "imagenet and pixelated imagery"),
    ],
)
def test_words_go_with_the_noun(image, row):
    assert said_of("row", image) == row
    assert said_of("image", image) == image
