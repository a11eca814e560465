"""What pictures of every kind become that Pillow writes, and of some that it does not: read, or refused in one line.

python -m experiments.benchmarks.odd_pictures experiments/results/odd_pictures.md
"""

import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ppvae.datasets import image_folder
from ppvae.errors import UserError

from ..provenance import as_markdown, environment

__all__ = ["FORMATS", "main", "of_mode", "png", "tiff", "write_pictures"]

ROWS, COLUMNS = 6, 8
FORMATS = {"PNG": ".png", "TIFF": ".tif", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "PPM": ".ppm", "GIF": ".gif"}
RAMP = np.linspace(0, 255, ROWS * COLUMNS).astype(np.uint8).reshape(ROWS, COLUMNS)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)
HALF = np.resize(np.array([0, 255], np.uint8), (ROWS, COLUMNS))  # alpha of every other pixel


def of_mode(mode: str) -> Image.Image:
    """A ramp of greys or colours in that mode; every other pixel transparent where it can be."""
    if mode.startswith("I;16"):
        order = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
        return Image.frombytes(mode, (COLUMNS, ROWS), (RAMP.astype(np.uint16) * 257).astype(order).tobytes())
    colours = Image.fromarray(COLOURS)
    if mode == "LAB":
        return Image.frombytes(mode, colours.size, COLOURS.tobytes())
    if mode == "F":
        return Image.fromarray((RAMP / 255).astype(np.float32))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        colours.putalpha(Image.fromarray(HALF))
        colours = colours.convert("LA") if mode == "La" else colours
    return colours.convert(mode)


def png(samples: np.ndarray, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits (rows, columns, channels) of that colour type, with further chunks before the pixels."""
    rows, columns, _ = samples.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, colour, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*parts, strict=True)))


def tiff(samples: np.ndarray, order: str) -> bytes:
    """An uncompressed TIFF of 16 bits (rows, columns, channels); `order` `<` or `>` of the bytes."""
    rows, columns, channels = samples.shape
    begin = 8 + 2 + 12 * 9 + 4  # of what follows the header and the one directory
    tags = {256: columns, 257: rows, 258: begin, 259: 1, 262: 2, 273: begin + 2 * channels, 277: channels, 278: rows}
    tags[279] = samples.size * 2
    entries = [struct.pack(f"{order}HHII", tag, 4 - (tag == 258), 1 + 2 * (tag == 258), n) for tag, n in tags.items()]
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    return header + b"".join(entries) + bytes(4) + bits + samples.astype(f"{order}u2").tobytes()


def write_pictures(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write each picture into a folder of its own: what it is, and its file."""
    for mode in sorted(Image.MODES):
        for kind, ending in FORMATS.items():
            path = _fresh(folder, f"{mode}_{kind}", ending)
            with suppress(Exception):  # what Pillow does not write is no case
                of_mode(mode).save(path, kind)
                yield f"mode {mode} as {kind}", path
    deep = np.arange(ROWS * COLUMNS * 4, dtype=np.uint16).reshape(ROWS, COLUMNS, 4) * 300
    for name, channels, colour in (("grey and alpha", 2, 4), ("RGB", 3, 2), ("RGB and alpha", 4, 6)):
        path = _fresh(folder, f"deep_{name}", ".png")
        path.write_bytes(png(deep[..., :channels], colour))
        yield f"16 bits, {name}, as PNG", path
    for order, name in (("<", "little"), (">", "big")):
        path = _fresh(folder, f"deep_{name}", ".tif")
        path.write_bytes(tiff(deep[..., :3], order))
        yield f"16 bits, RGB, as TIFF, {name}-endian", path
    path = _fresh(folder, "deep_ppm", ".ppm")
    path.write_bytes(b"P6\n%d %d\n65535\n" % (COLUMNS, ROWS) + deep[..., :3].astype(">u2").tobytes())
    yield "16 bits, RGB, as PPM", path
    yield from _with_more(folder)


def _with_more(folder: Path) -> Iterator[tuple[str, Path]]:
    """What a file may hold beside its pixels."""
    grey, colours = Image.fromarray(RAMP), Image.fromarray(COLOURS)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    palette = colours.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    few = {"save_all": True, "append_images": [grey.convert("RGB")]}
    cases: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "palette, a colour of it transparent, as PNG": (palette, ".png", {"transparency": 0}),
        "palette, alpha of each colour, as PNG": (palette, ".png", {"transparency": bytes(range(0, 256, 16))}),
        "grey, a level of it transparent, as PNG": (grey, ".png", {"transparency": 0}),
        "RGB, a colour transparent, as PNG": (colours, ".png", {"transparency": tuple(COLOURS[0, 0].tolist())}),
        "RGBA, all of it opaque, as PNG": (colours.convert("RGBA"), ".png", {}),
        "two frames as PNG": (colours, ".png", few),
        "two pages as TIFF": (colours, ".tif", few),
        "two frames as WebP": (colours, ".webp", few | {"lossless": True}),
        "two frames as GIF": (colours, ".gif", few),
        "a photograph with a view of it, as MPO": (colours, ".jpg", {"format": "MPO", **few}),
        "turned by its EXIF, as JPEG": (grey, ".jpg", {"exif": exif, "quality": 100}),
        "turned by its EXIF, as PNG": (grey, ".png", {"exif": exif}),
        "progressive, as JPEG": (colours, ".jpg", {"progressive": True}),
    }
    for number, (what, (image, ending, options)) in enumerate(cases.items()):
        path = _fresh(folder, f"more_{number}", ending)
        image.save(path, **options)
        yield what, path


def became(path: Path, **options: Any) -> str:
    """Channels × rows × columns, the kind and the range of the pixels, or the reason."""
    try:
        data = image_folder(path.parent, **options)
    except UserError as error:
        return str(error).replace(f"'{path}'", path.name)
    stored = data.stored().float()
    shape = " × ".join(map(str, data.image_shape))
    return f"{shape}, {data.kind}, {stored.min().item():.4g} … {stored.max().item():.4g}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            f"| {what} | {became(path)} | {became(path, background='white', real=True)} |"
            for what, path in write_pictures(Path(folder))
        ]
    page = f"""# Odd pictures

Each alone in a folder, {ROWS} rows of {COLUMNS} pixels: a ramp from black to white, or of colours, every other pixel
transparent where the mode has transparency. Written by Pillow {Image.__version__} in every mode and format that it
writes of those that are read, and by hand where it writes less. What became of it, channels × rows × columns, what the
pixels are and between which numbers: as `image_folder` reads it by itself, and with `background=white real=true`.

| picture | by itself | `background=white real=true` |
|---|---|---|
{chr(10).join(rows)}

Command: `python -m experiments.benchmarks.odd_pictures experiments/results/odd_pictures.md`

{as_markdown(environment(0))}
"""
    Path(sys.argv[1]).write_text(page) if len(sys.argv) > 1 else print(page)


def _fresh(folder: Path, name: str, ending: str) -> Path:
    own = folder / name.replace(";", "_").replace(" ", "_")
    own.mkdir()
    return own / f"picture{ending}"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


if __name__ == "__main__":
    main()
