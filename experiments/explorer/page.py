"""The page of an explorer: one HTML that asks the server, or that holds what was decoded before."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from torch import Tensor

from ppvae.datasets import Scaling
from ppvae.nouns import IMAGE, ROW, Noun

from ..finished.card import title_of
from .animation import ffmpeg
from .axes import Axes, plane
from .explorer import Explorer, Setting
from .pictures import Sheet, pixels_of, sheet, thumbnails

__all__ = ["live_page", "rows_of", "saved_page"]

HERE = Path(__file__).parent
PIXELS = 2_000_000  # of all images that the map shows together
SAVED_PIXELS = 6_000_000  # of all frames of a saved page
SAVED_DRAWS = 400  # frames where each pixel is drawn by itself
STEPS = 9  # of a slider of a saved page
AXES = 12  # of each site on a saved page
LEVELS = 12  # numbers of more values are a scale
MOST_NAMES = 40  # that a legend tells apart
KINDS = {
    "latents": "Each slider is a latent, largest KL first.",
    "directions": "Feature maps: each slider is a principal direction of this group's maps over the images, the "
    "largest first; what no slider moves stays.",
}


def live_page(explorer: Explorer) -> str:
    """The page whose sliders the server decodes."""
    return _page(explorer, _view(explorer) | {"saved": None, "mp4": ffmpeg() is not None}, "connect-src 'self'")


def saved_page(explorer: Explorer) -> str:
    """The page that needs no server: for the first images each slider by itself, in steps, each level, and the map."""
    view = _view(explorer)
    return _page(explorer, view | {"saved": _saved(explorer, view), "mp4": False}, "connect-src 'none'")


def _page(explorer: Explorer, view: dict[str, Any], connections: str) -> str:
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        f"{connections}; base-uri 'none'; form-action 'none'"
    )
    text = json.dumps(view, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {"style": Markup(style), "script": Markup(script), "view": Markup(text), "policy": Markup(policy)}
    noun = ROW if explorer.of_rows else IMAGE
    return _template().render(title=view["title"], lead=_lead(explorer, noun), noun=noun.one, **parts)


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")


def _digest(text: str) -> str:
    """As a browser that is told to run this text alone compares it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _lead(explorer: Explorer, noun: Noun) -> str:
    model, guide = (type(program).__name__ for program in (explorer.model, explorer.run.guide))
    return (
        f"{model} and {guide}, {explorer.count} {noun.many}. Start from one of them, on the map or by its number, and "
        "move its code: all else stays where q(z | x) has it, but what depends on what is moved, which the model sets."
    )


def _view(explorer: Explorer) -> dict[str, Any]:
    """What the page knows: sliders, choices, colours, and the images themselves."""
    shown = explorer.data[0][: explorer.count]
    own = explorer.decode()
    return {
        "title": title_of(explorer.run),
        "count": explorer.count,
        "shown": "draws" if own.drawn else "mean",
        "order": explorer.order,
        "sites": [_site(explorer, site) for site in explorer.codes],
        "choices": [
            {"name": name, "title": choice.title, "options": choice.names, "own": choice.own[: explorer.count]}
            for name, choice in explorer.choices.items()
        ],
        "colours": _colours(explorer),
        "files": [str(file) for file in explorer.table["file"].values] if "file" in explorer.table.coords else None,
        "rows": _rows(explorer, shown) if explorer.of_rows else None,
        "sheet": None if explorer.of_rows else _sheet(shown),
    }


def _sheet(images: Tensor) -> dict[str, Any]:
    return _small(images, PIXELS)._asdict()


def _small(images: Tensor, pixels: int) -> Sheet:
    return sheet(pixels_of(thumbnails(images, max(24, int((pixels / len(images)) ** 0.5)))))


def _site(explorer: Explorer, site: str) -> dict[str, Any]:
    axes, several = explorer.axes(site), len(explorer.codes) > 1
    return {
        "name": site,
        "kind": axes.kind,
        "note": KINDS[axes.kind],
        "axes": [_axis(axes, place, several) for place in range(len(axes.numbers))],
        "order": axes.order,
        "scores": _numbers(axes.scores[: explorer.count]),
        "plane": _numbers(plane(axes)[: explorer.count]),
    }


def _axis(axes: Axes, place: int, several: bool) -> dict[str, Any]:
    number = axes.numbers[place]
    low, high = axes.reach(number)
    name = f"{axes.site}[{number}]" if several or axes.site != "z" else f"z{number}"
    kl = None if axes.kl is None or not np.isfinite(axes.kl[place]) else float(axes.kl[place])
    named = name if axes.directions is None else f"direction {number}"
    return {"number": number, "name": named, "low": low, "high": high, "kl": kl}


def _numbers(values: np.ndarray) -> list[Any]:
    """Of six digits, which is what a float32 has, None where one is not finite."""
    if values.ndim > 1:
        return [_numbers(row) for row in values]
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]


def _colours(explorer: Explorer) -> list[dict[str, Any]]:
    """Factors and labels, then the levels that the guide finds."""
    factors = [_colour(str(name), factor) for name, factor in explorer.table.data_vars.items()]
    found = [
        {"name": choice.title, "values": choice.own[: explorer.count], "names": choice.names}
        for name, choice in explorer.choices.items()
        if name != "given"
    ]
    return [colour for colour in factors if colour is not None] + found


def _colour(name: str, factor: xr.DataArray) -> dict[str, Any] | None:
    if factor.dims != ("image",) or factor.dtype.kind not in "iufb":
        return None
    values, names = factor.values, factor.attrs.get("values")
    if names is not None and len(names) > LEVELS and all(isinstance(value, int | float) for value in names):
        values, names = np.array(names, dtype=float)[values], None
    if names is None and values.dtype.kind in "iub" and values.max() < LEVELS:
        names = range(int(values.max()) + 1)
    if names is None or len(names) > MOST_NAMES:
        return {"name": name, "values": _numbers(values.astype(float)), "names": None}
    names = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in names]
    return {"name": name, "values": values.astype(int).tolist(), "names": names}


def _rows(explorer: Explorer, rows: Tensor) -> dict[str, Any]:
    """Columns and their units, and the rows as the pair sees them."""
    columns = explorer.run.intake.columns
    scaling = Scaling.read(explorer.run.folder / "columns.csv", np.array(columns))
    values = rows_of(rows)
    low, high = float(np.nanquantile(values, 0.002)), float(np.nanquantile(values, 0.998))
    margin = 0.15 * (high - low) or 1.0
    units = {"center": scaling.center.tolist(), "scale": scaling.scale.tolist()}
    return {"columns": columns, **units, "values": _numbers(values), "limits": [low - margin, high + margin]}


def rows_of(images: Tensor) -> np.ndarray:
    """Rows (row, 1, 1, column) as a table, (row, column)."""
    return images.flatten(1).double().cpu().numpy()


def _saved(explorer: Explorer, view: dict[str, Any]) -> dict[str, Any]:
    """Frames of the first images: each slider's path, then each level, one after the other; ``view`` learns where."""
    starts = [(site, axis) for site in view["sites"] for axis in _largest(site)]
    place = 0
    for site, axis in starts:
        axis["path"] = _numbers(explorer.axes(site["name"]).path(axis["number"], STEPS))
        axis["saved"], place = place, place + STEPS
    for choice in view["choices"]:
        choice["saved"], place = place, place + len(choice["options"])
    images = range(min(explorer.count, _affordable(explorer, view, max(place, 1))))
    touched = {site["name"]: Setting(moved={site["name"]: {site["axes"][0]["number"]: 0.0}}) for site in view["sites"]}
    touched |= {choice["name"]: Setting(chosen={choice["name"]: 0}) for choice in view["choices"]}
    own = explorer.reconstructions()
    return {
        "frames": [_shown(explorer, _frames(explorer, image, view), SAVED_PIXELS) for image in images],
        "own": _shown(explorer, own, PIXELS),
        "follows": {name: explorer.follows(setting) for name, setting in touched.items()},
    }


def _largest(site: dict[str, Any]) -> list[dict[str, Any]]:
    """The first of its axes, which alone stay."""
    kept = [site["axes"][place] for place in site["order"][:AXES]]
    columns = [site["axes"].index(axis) for axis in kept]
    site["scores"] = [[row[column] for column in columns] for row in site["scores"]]
    site["axes"], site["order"] = kept, list(range(len(kept)))
    return kept


def _frames(explorer: Explorer, image: int, view: dict[str, Any]) -> Tensor:
    setting = Setting(image)
    found = [
        explorer.traverse_each(setting, site["name"], [axis["number"] for axis in site["axes"]], STEPS).images
        for site in view["sites"]
    ]
    for choice in view["choices"]:
        levels = range(len(choice["options"]))
        found += [explorer.decode(Setting(image, chosen={choice["name"]: level})).images for level in levels]
    return torch.cat(found) if found else explorer.decode(Setting(image)).images


def _affordable(explorer: Explorer, view: dict[str, Any], frames: int) -> int:
    """How many images' frames a page holds."""
    most = SAVED_DRAWS if view["shown"] == "draws" else SAVED_PIXELS // explorer.data[0][0, 0].numel()
    return max(1, most // frames)


def _shown(explorer: Explorer, images: Tensor, pixels: int) -> Any:
    return _numbers(rows_of(images)) if explorer.of_rows else _small(images, pixels)._asdict()
