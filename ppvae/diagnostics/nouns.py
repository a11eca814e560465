"""What is written of images, said of the rows of a table."""

import re

__all__ = ["said_of"]

IMAGE = re.compile(r"\b(an |An )?(image|Image)(s?)\b")
PIXEL = {"a pixel": "an entry", "pixels": "entries", "pixel": "entry"}


def said_of(noun: str, text: str) -> str:
    """The text with ``noun`` for image, and entry for pixel where it is another; a table's noun is row.

    >>> said_of("row", "an image's own k̂, in 3 of 100 images")
    "a row's own k̂, in 3 of 100 rows"
    """
    if noun == "image":
        return text
    for pixel, entry in PIXEL.items():
        text = re.sub(rf"\b{pixel}\b", entry, text)

    def other(found: re.Match[str]) -> str:
        article, image, plural = found.groups()
        named = noun.capitalize() if image[0].isupper() else noun
        return ("" if article is None else f"{article[0]} ") + named + plural

    return IMAGE.sub(other, text)
