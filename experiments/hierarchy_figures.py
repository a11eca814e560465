"""What each group of a hierarchy holds: its rate, colder samples, groups kept and the rest redrawn, paths."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from torch.nn.modules.batchnorm import _BatchNorm

from ppvae import UserError
from ppvae.diagnostics import information_by_group, information_by_scale
from ppvae.diagnostics.contents import noun_in
from ppvae.interventions import draw_images, interpolate, keep_groups, reestimate
from ppvae.interventions.held import data_of, images_of
from ppvae.plots import plot_groups, plot_interpolations, plot_kept_groups, plot_temperatures
from ppvae.plots.labels import number

from .assemble import Parts
from .evaluation import Evaluation
from .report import ReportFigure, Table
from .seen import differ, in_turn, sentence, shown

__all__ = ["figures_of_hierarchy", "groups_table"]

logger = logging.getLogger(__name__)

TEMPERATURES, SAMPLES = (1.0, 0.8, 0.6), 10
ROWS, DRAWS = 8, 8  # of kept groups
PATHS, STEPS = 4, 9
LEAST = 0.1  # nats below which a group counts as unused
BATCHES, SIZE = 20, 64  # the most draws in each, by which BatchNorm's statistics are re-estimated


def figures_of_hierarchy(parts: Parts, evaluation: Evaluation, seed: int) -> list[ReportFigure]:
    """Rates by group, temperatures, kept groups and paths; none of a pair whose codes do not depend on each other."""
    if not evaluation.hierarchical:
        return []
    figures: list[Callable[[Parts, Evaluation, int], ReportFigure]] = [_groups, _temperatures, _kept, _paths]
    found = []
    for figure in figures:
        try:
            found.append(figure(parts, evaluation, seed))
        except UserError as error:  # a latent that has no temperature, images too few: no reason to lose the page
            logger.info("no figure of the hierarchy: %s", error)
    return found


def groups_table(evaluation: Evaluation) -> list[Table]:
    """A row a group, then one a scale where there are several of several groups."""
    if not evaluation.hierarchical:
        return []
    groups, split = information_by_group(evaluation.tree), evaluation.information
    gains = {} if split is None or "site_gain" not in split else dict(_pairs(split["site_gain"]))
    rows = [
        (site, str(groups["scale"].sel(site=site).item()), *_numbers(groups.sel(site=site)), gains.get(site))
        for site in groups["site"].values.tolist()
    ]
    scales = information_by_scale(groups)
    if 1 < scales.sizes["scale"] < groups.sizes["site"]:
        names = scales["scale"].values.tolist()
        rows += [("all of", name, *_numbers(scales.sel(scale=name)), None) for name in names]
    noun = noun_in(evaluation.tree)
    caption = (
        f"KL(q(z_l | z_<l, x) ‖ p(z_l | z_<l)) of the first {groups.attrs['images']} training {noun.many}; a feature "
        "map is one latent, active where its mean codes vary. What a group's own values gain the likelihood over "
        f"another {noun}'s, all other groups held, is what the decoder reads of it."
    )
    columns = ("group", "scale", "rate (nats)", "share", "active units", "latents", "gained alone (nats)")
    return [Table("Groups of the hierarchy", columns, rows, caption)]


def _pairs(array: xr.DataArray) -> list[tuple[str, float]]:
    return list(zip(array["site"].values.tolist(), array.values.tolist(), strict=True))


def _numbers(row: xr.Dataset) -> tuple[float | None, ...]:
    values = [float(row[name]) for name in ("rate", "share", "active_units", "latents")]
    return tuple(None if np.isnan(value) else value for value in values)


def _groups(_parts: Parts, evaluation: Evaluation, _seed: int) -> ReportFigure:
    groups = information_by_group(evaluation.tree)
    rates = dict(_pairs(groups["rate"]))
    whole, idle = sum(rates.values()), [site for site, rate in rates.items() if rate < LEAST]
    most = max(rates, key=rates.__getitem__)
    seen = (
        f"the dearest group is {most}, {number(rates[most])} of {number(whole)} nats per {noun_in(evaluation.tree)}; "
    )
    seen += f"less than {LEAST:g} nats: {in_turn(idle)}, which could be left out" if idle else "none is unused"
    units, latents = (float(groups[name].sum()) for name in ("active_units", "latents"))
    caption = (
        f"{sentence(seen)} KL of each group from its prior, coloured by scale, dots its maps; below, its active units, "
        f"in all {units:.0f} of {latents:.0f} latents."
    )
    alt = f"A bar a group from {next(iter(rates))} at the left, the top, to {list(rates)[-1]}. {sentence(seen)}"
    return ReportFigure("groups", caption, plot_groups(groups, evaluation.information), "KL by group", alt)


def _temperatures(parts: Parts, evaluation: Evaluation, seed: int) -> ReportFigure:
    like = data_of(evaluation.tree.isel(image=slice(SIZE)))
    samples, size = {}, max(2, len(like[0]))
    for temperature in TEMPERATURES:
        settings: dict[str, Any] = {"temperature": temperature, "like": like, "seed": seed}
        with reestimate(parts.model, batches=BATCHES, size=size, **settings):
            samples[temperature] = draw_images(parts.model, SAMPLES, **settings)
    spreads = [f"{shown(differ(drawn, 'draw'))} at {temperature:g}" for temperature, drawn in samples.items()]
    seen = f"images of a row differ from each other by {in_turn(spreads)} a pixel"
    caption = (
        "Drawn by the model alone, the scales of all its latents multiplied by a temperature, of one noise a column: "
        f"{seen}."
    )
    if any(isinstance(part, _BatchNorm) for part in parts.model.modules()):
        caption += " BatchNorm's statistics are re-estimated at each temperature."
    alt = f"{len(samples)} rows of {SAMPLES} images: {seen}."
    return ReportFigure("temperatures", caption, plot_temperatures(samples), "Samples by temperature", alt)


def _kept(parts: Parts, evaluation: Evaluation, seed: int) -> ReportFigure:
    few = evaluation.tree.isel(image=slice(1))
    groups = len(few.attrs["latents"])
    kept = np.unique(np.linspace(0, groups, min(ROWS, groups + 1)).round().astype(int)).tolist()
    found = keep_groups(parts.model, few, kept, draws=DRAWS, seed=seed)
    spreads = [differ(found.sel(kept=count), "draw") for count in kept]
    falls = -np.diff(spreads)
    place = int(falls.argmax()) + 1
    seen = f"Draws of a row differ from each other by {shown(spreads[0])} a pixel with no group kept, "
    seen += f"by {shown(spreads[-1])} with all {groups}"
    if falls.max() > 0:
        seen += f"; that falls most, to {shown(spreads[place])}, where {found['lowest'].values[place]} is kept, too"
    caption = (
        f"{seen}. One image, its first groups held where the guide puts them and all the others drawn by the model; "
        "the last row is the reconstruction. What the draws of a row share is in the groups that it keeps."
    )
    figure = plot_kept_groups(found, images_of(few)[0])
    alt = f"{len(kept)} rows of an image and {DRAWS} draws. {seen}."
    return ReportFigure("kept_groups", caption, figure, "Groups kept, rest redrawn", alt)


def _paths(parts: Parts, evaluation: Evaluation, _seed: int) -> ReportFigure:
    few = evaluation.tree.isel(image=slice(2 * PATHS))
    pairs = [(image, image + 1) for image in range(0, images_of(few).sizes["image"] - 1, 2)]
    if not pairs:
        raise UserError("a path needs two images, there is one")
    paths = xr.concat([interpolate(parts.model, few, pair, steps=STEPS) for pair in pairs], "path")
    first, last = (paths.isel(step=step, drop=True) for step in (0, -1))
    off = float(abs(paths.isel(step=STEPS // 2, drop=True) - (first + last) / 2).mean())
    seen = f"half way images are {shown(off)} a pixel off the two ends laid over each other, which are "
    seen += f"{shown(float(abs(last - first).mean()))} apart"
    caption = (
        "From one training image to another: the codes of all groups, posterior means, moved along a straight line; "
        f"{seen}. Near 0 they are no images of their own, but one laid over the other."
    )
    alt = f"{len(pairs)} rows of {STEPS} images, from one at the left to another at the right; {seen}."
    return ReportFigure("interpolations", caption, plot_interpolations(paths), "Between two images", alt)
