"""What sentences call the things that a pair is of: images and their pixels, rows of a table and their entries."""

import re
from dataclasses import dataclass

__all__ = ["IMAGE", "ROW", "Noun", "called", "described_as", "noun_of"]


@dataclass(frozen=True)
class Noun:
    """One of the things, several, and one number of it and several; as text it is the first.

    >>> f"{ROW.a}'s own k̂, in 3 of 100 {ROW.many}: {ROW.a_pixel}"
    "a row's own k̂, in 3 of 100 rows: an entry"
    """

    one: str
    many: str
    pixel: str
    pixels: str

    @property
    def a(self) -> str:
        """With its article."""
        return _with_article(self.one)

    @property
    def a_pixel(self) -> str:
        """One number of it, with its article."""
        return _with_article(self.pixel)

    def __str__(self) -> str:
        return self.one


IMAGE = Noun("image", "images", "pixel", "pixels")
ROW = Noun("row", "rows", "entry", "entries")


def called(word: str | Noun) -> Noun:
    """The noun of this singular; what is no image has entries."""
    if isinstance(word, Noun):
        return word
    return IMAGE if word == IMAGE.one else Noun(word, f"{word}s", ROW.pixel, ROW.pixels)


def noun_of(data: object) -> Noun:
    """Of a data set, or of its images; tensors are of images."""
    return called(getattr(getattr(data, "images", data), "noun", IMAGE))


def described_as(*descriptions: str) -> Noun:
    """What data sets' descriptions say they are of: rows where each is as ``numbers.csv, 60 rows of 5 columns``."""
    rows = [re.search(rf", \d+ {ROW.many} of \d+ columns", description) for description in descriptions]
    return ROW if rows and all(rows) else IMAGE


def _with_article(word: str) -> str:
    return f"{'an' if word[0].lower() in 'aeiou' else 'a'} {word}"
