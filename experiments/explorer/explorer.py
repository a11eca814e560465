"""The latents of a finished run set by hand, all at once, and what its model makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.contents import codes_of
from ppvae.errors import UserError, check_choice, check_not_negative, check_whole
from ppvae.interventions.decoding import decoded, dependent, drawn_until, in_parts, joined, picture, sites_before
from ppvae.interventions.held import data_of, held, images_of
from ppvae.interventions.pictures import Shown
from ppvae.models import ConditionalVAE
from ppvae.pair.sites import Site, discrete

from ..finished import FinishedRun
from .axes import Axes, axes_of
from .choices import Choice

__all__ = ["Explorer", "Setting"]


@dataclass(frozen=True)
class Setting:
    """What is set by hand; everything else is as q(z | x) of the ``image`` has it.

    ``moved``: by site and axis the value (:class:`~experiments.explorer.axes.Axes`). ``chosen``: of what has levels, as
    a label or a cluster, which. ``kept``: how many sites, in the model's order, stay; those behind are drawn by the
    model at a ``temperature``, by ``seed``. None keeps all.
    """

    image: int = 0
    moved: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)
    kept: int | None = None
    temperature: float = 1.0
    seed: int = 0


class Explorer:
    """Decodes a run's codes with any of them moved by hand.

    ``tree``: moments of the images that are shown, then of others over whose range latents move, as
    :meth:`~experiments.finished.FinishedRun.moments` makes them; ``count``: how many are shown, at most. ``table``:
    what is known of these, factors and files. At an image's own code the picture is its reconstruction; with one latent
    moved it is that of :func:`ppvae.interventions.traverse`, by whose rule a site that depends on a moved one, as z_2
    on z_1, is not held but takes its mean under the model.

    Errors: :class:`~ppvae.UserError`, one line, for images, sites, axes or levels that there are not.
    """

    def __init__(self, run: FinishedRun, tree: xr.DataTree, count: int, table: xr.Dataset | None = None) -> None:
        check_whole("images", count, 1)
        self.run, self.model, self.tree = run, run.model, tree
        self.name = str(images_of(tree).name)
        self.data, self.values = data_of(tree), held(tree)
        self.count = min(count, len(self.data[0]))
        self.table = xr.Dataset() if table is None else table.isel(image=slice(self.count))
        self._axes: dict[str, Axes] = {}
        self._below: dict[str, list[str]] = {}

    def __repr__(self) -> str:
        return f"Explorer({self.count} images; {', '.join(self.order)})"

    @property
    def of_rows(self) -> bool:
        """Whether the run is of a table's rows."""
        return self.run.intake.of_rows

    # what can be set

    @cached_property
    def order(self) -> list[str]:
        """The latent sites before the images, in the model's order."""
        return [site["name"] for site in self._latents]

    @cached_property
    def codes(self) -> list[str]:
        """The sites that have sliders."""
        return [site for site in self.order if site in codes_of(self.tree) and site not in self.choices]

    @cached_property
    def choices(self) -> dict[str, Choice]:
        """What has levels: latent sites, and what a conditional pair is given."""
        levels = {site["name"]: site["fn"] for site in self._latents if discrete(site)}
        every = {name: Choice.of_site(name, fn, self.values[name], self._names(name)) for name, fn in levels.items()}
        found = {name: choice for name, choice in every.items() if choice is not None}
        if isinstance(self.model, ConditionalVAE):
            found["given"] = Choice.of_given(self.run, self.data[1], self.count)
        return found

    def axes(self, site: str) -> Axes:
        """The sliders of a code."""
        check_choice("site", site, self.codes)
        if site not in self._axes:
            self._axes[site] = axes_of(self.tree, site, self.values[site])
        return self._axes[site]

    @cached_property
    def _latents(self) -> list[Site]:
        def run(part: Mapping[str, Tensor], *inputs: Tensor) -> list[Site]:
            return [site for site in sites_before(self.model, self.name, part, *inputs)[:-1] if site["name"] in part]

        first = {site: value[:1] for site, value in self.values.items()}
        return in_parts(self.model, run, first, *(tensor[:1] for tensor in self.data))[0]

    def _names(self, site: str) -> list[str]:
        """Of the levels of the label that some images had; none of other sites."""
        labels = self.run.configuration.get("labels")
        factor = None if labels is None or site != "y" else self.table.get(labels.factor)
        values = [] if factor is None else list(factor.attrs.get("values", ()))
        return [str(value) for value in values if value != labels.unknown]

    # what the model makes of it

    def decode(self, setting: Setting | None = None) -> Shown:
        """One picture, (1, C, H, W), and whether it is a draw for want of a mean."""
        setting = setting or Setting()
        self._check(setting)
        return self._decoded(setting, {})

    def traverse(self, setting: Setting, site: str, number: int, steps: int = 9) -> tuple[Shown, np.ndarray]:
        """Pictures (step, C, H, W) with one axis on its path, all else as it is set; and the path's values (step,)."""
        return self.traverse_each(setting, site, [number], steps), self.axes(site).path(number, steps)

    def traverse_each(self, setting: Setting, site: str, numbers: Sequence[int], steps: int = 9) -> Shown:
        """The traversals of several axes, each with all others where they are set: (axis · step, C, H, W)."""
        check_whole("steps", steps, 1)
        self._check(setting)
        axes, set_by_hand = self.axes(site), setting.moved.get(site, {})
        moves = {}
        for place, number in enumerate(numbers):
            still = set_by_hand.get(number, float(axes.scores[setting.image, axes.index(number)]))
            values = torch.full((len(numbers), steps), still, dtype=torch.float64)
            values[place] = torch.from_numpy(axes.path(number, steps))
            moves[number] = values.flatten()
        return self._decoded(setting, {site: moves})

    def reconstructions(self) -> Tensor:
        """All images that are shown, at their own codes, (image, C, H, W)."""
        values = {site: value[: self.count] for site, value in self.values.items()}
        data = (tensor[: self.count] for tensor in self.data)
        return joined(decoded(self.model, picture, self.name, values, *data)).images

    def follows(self, setting: Setting) -> list[str]:
        """The sites that the model sets, for they depend on what is set by hand or stand behind those kept."""
        drawn = self.order if setting.kept is None else self.order[: setting.kept]
        behind = set(self.order) - set(drawn)
        touched = {site for site in (*setting.moved, *setting.chosen) if site in self.order} - behind
        below = {site for one in touched for site in self._dependent(one)} - touched
        return [site for site in self.order if site in below | behind]

    def _decoded(self, setting: Setting, path: Mapping[str, Mapping[int, Tensor]]) -> Shown:
        image = setting.image
        moved = {site: {**setting.moved.get(site, {}), **path.get(site, {})} for site in (*setting.moved, *path)}
        values = {site: value[image][None] for site, value in self.values.items()}
        values |= {site: _rows(self.axes(site).moved(image, moves), values[site]) for site, moves in moved.items()}
        data = [tensor[image][None] for tensor in self.data]
        for name, option in setting.chosen.items():
            chosen = self.choices[name].options[option][None]
            values, data = (values, [data[0], chosen]) if name == "given" else ({**values, name: chosen}, data)
        count = max(map(len, values.values()))
        free = self.follows(Setting(**{**vars(setting), "moved": moved}))
        values = {site: _expanded(value, count) for site, value in values.items() if site not in free}
        data = [_expanded(tensor, count) for tensor in data]
        if setting.kept is None:
            return joined(decoded(self.model, picture, self.name, values | {self.name: data[0]}, *data))
        return joined([self._drawn(values, data, free, setting, row) for row in range(count)])

    def _drawn(
        self, values: dict[str, Tensor], data: list[Tensor], free: list[str], setting: Setting, row: int
    ) -> Shown:
        """A row by itself, so that all have one noise."""
        at: dict[str, Any] = {"temperature": setting.temperature, "sites": [one for one in free if one in self.codes]}

        def run(part: Mapping[str, Tensor], *inputs: Tensor) -> Shown:
            held_sites = {site: part[site] for site in values}
            return picture(drawn_until(self.model, self.name, held_sites, *inputs, **at)[-1])

        some = slice(row, row + 1)
        one = {site: value[some] for site, value in (values | {self.name: data[0]}).items()}
        return joined(in_parts(self.model, run, one, *(tensor[some] for tensor in data), seed=setting.seed))

    def _dependent(self, site: str) -> list[str]:
        """The sites whose distribution changes with this one's value, seen where the first image's is changed."""
        if site not in self._below:
            value = self.values[site][:1]
            other = self.choices[site].other(value) if site in self.choices else value + 1
            values = {name: held_value[:1].repeat_interleave(2, 0) for name, held_value in self.values.items()}
            data = (tensor[:1].repeat_interleave(2, 0) for tensor in self.data)
            values[site] = torch.cat([value, other])
            self._below[site] = dependent(self.model, self.name, site, values, *data)
        return self._below[site]

    def _check(self, setting: Setting) -> None:
        check_whole("image", setting.image, 0)
        if setting.image >= self.count:
            raise UserError(f"image={setting.image}: there are {self.count}, numbered from 0; give one of them")
        check_whole("seed", setting.seed, 0)
        check_not_negative("temperature", setting.temperature)
        for site in setting.moved:
            check_choice("site", site, self.codes)
        for name, option in setting.chosen.items():
            check_choice("choice", name, self.choices)
            _check_below(name, option, len(self.choices[name].options), "levels")
        if setting.kept is not None:
            _check_below("kept", setting.kept, len(self.order) + 1, "numbers of sites")


def _check_below(name: str, number: int, count: int, what: str) -> None:
    check_whole(name, number, 0)
    if number >= count:
        raise UserError(f"{name}={number}: there are {count} {what}, from 0; give one of them")


def _rows(moved: Tensor, like: Tensor) -> Tensor:
    """(row, *event dims), of one value too."""
    return moved if moved.dim() == like.dim() else moved[None]


def _expanded(values: Tensor, count: int) -> Tensor:
    return values if len(values) == count else values.expand(count, *values.shape[1:])
