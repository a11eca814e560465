"""Figures as SVG that follow the reader's colour scheme: sharp at any size, dark where the page is."""

import base64
import colorsys
import io
import re

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

__all__ = ["as_svg", "in_the_dark"]

COLOUR = re.compile(r"(fill|stroke): (#[0-9a-f]{6})")
PLACES = re.compile(r' (?:d|x|y|x1|x2|y1|y2|points)="[^"]*"')  # not transformations, which scale what follows
DECIMALS = re.compile(r"\d+\.\d{3,}")
PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]*)")
OVER = "over"  # ids of numbers over a heat map, which keep their colours beside its own
HEAT = "heat"  # ids of heat maps that fade to white, and of their bars
WHITE = 0.9  # lightness of a colour map's first or middle colour from which it does
DARKEST, SPAN = 0.13, 0.8  # lightness of what is white, and that of what is black above it
OWN_PIXELS = 128  # a side of pictures that keep their own; of larger ones a figure shows less than they have
LARGEST = 400_000  # bytes of a figure whose pictures stay exact


def as_svg(figure: Figure, dpi: float) -> bytes:
    """The figure without its paper, letters as outlines, pictures of their own pixels; ``dpi``: of what is resampled.

    Where a reader prefers dark pages its lines and letters are drawn by :func:`in_the_dark`, and a heat map that fades
    to white, with the numbers over it, is turned as they are; pictures, and other heat maps, stay. A figure of more
    than 400 kB holds its pictures as JPEG.
    """
    for place, axes in enumerate(figure.axes):
        _fix(axes)
        if _fades(axes):
            axes.set_gid(f"{HEAT}_{place}")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ppvae", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", dpi=dpi, facecolor="none", metadata={"Date": None, "Creator": None})
    text = PLACES.sub(_rounded, buffer.getvalue().decode())
    if len(text) > LARGEST:
        text = PNG.sub(_as_jpeg, text)
    return text.replace("<defs>", f"<style>{_dark(text)}</style>\n <defs>", 1).encode()


def in_the_dark(colour: str) -> str:
    """``#rrggbb`` of the same hue and chroma with its lightness turned round: black is light, white a dark grey."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)))
    chroma, turned = saturation * (1 - abs(2 * lightness - 1)), DARKEST + SPAN * (1 - lightness)
    parts = colorsys.hls_to_rgb(hue, turned, min(chroma / (1 - abs(2 * turned - 1)), 1.0))
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _fix(axes: Axes) -> None:
    """Small pictures keep their own pixels, which a browser enlarges without blur; numbers over heat maps do too."""
    for image in axes.images:
        if max(image.get_size()) <= OWN_PIXELS:
            image.set_interpolation("none")
    axes.patch.set_alpha(0)
    if any(_is_map(image) for image in axes.images):
        for place, text in enumerate(axes.texts):
            text.set_gid(f"{OVER}_{place}")


def _is_map(image: AxesImage) -> bool:
    """Whether its colours are those of numbers."""
    return np.asarray(image.get_array()).ndim == 2


def _fades(axes: Axes) -> bool:
    """Whether it is a heat map, or the bar of one, whose colours fade to white at their beginning or middle."""
    shown = [image for image in axes.images if _is_map(image)]
    bar = getattr(axes, "_colorbar", None)
    maps = [image.get_cmap() for image in (*shown, *([] if bar is None else [bar.mappable]))]
    return any(max(np.mean(colours(place)[:3]) for place in (0.0, 0.5)) > WHITE for colours in maps)


def _rounded(places: re.Match[str]) -> str:
    """To a hundredth of a point, which nobody sees."""
    return DECIMALS.sub(lambda number: f"{float(number[0]):.2f}", places[0])


def _as_jpeg(found: re.Match[str]) -> str:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB").save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _dark(text: str) -> str:
    """Rules for each colour of the drawing; what has none is black by SVG's default."""
    rules = [
        f'[style*="{role}: {colour}"]:not([id^="{OVER}"] *){{{role}:{in_the_dark(colour)}!important}}'
        for role, colour in sorted(set(COLOUR.findall(text)))
    ]
    if f'id="{HEAT}_' in text:  # white to the grey of white, black to that of black, hues back where they were
        turned = f"filter:invert({1 - DARKEST:g}) hue-rotate(180deg)"
        rules.append(f'[id^="{HEAT}"] image,[id^="{HEAT}"] [id^="{OVER}"]{{{turned}}}')
    return f"@media (prefers-color-scheme:dark){{svg{{fill:{in_the_dark('#000000')}}}{''.join(rules)}}}"
