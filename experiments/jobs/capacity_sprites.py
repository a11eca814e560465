"""Controlled capacity over training: does the KL follow C, and which factor enters when?"""

import json
from pathlib import Path
from statistics import fmean

import xarray as xr
from omegaconf import DictConfig, OmegaConf

from ppvae import UserError, from_pyro_svi
from ppvae.errors import check_whole
from ppvae.files import replace_atomically
from ppvae.metrics import knn_explained
from ppvae.objectives import Capacity
from ppvae.plots import plot_capacity
from ppvae.plots.labels import number

from ..assemble import Parts, assemble
from ..codes import mean_codes
from ..history_figures import kl_figure
from ..provenance import environment
from ..publication import publish
from ..report import ReportFigure, Table
from ..seen import in_turn
from ..training import train

__all__ = ["run"]

HALF = 0.5  # R² from which half of a factor is known


def run(configuration: DictConfig, directory: Path) -> Path:
    """Train in stages of ``every`` epochs, look at the codes after each, and report."""
    check_whole("every", configuration.every, 1)
    check_whole("probe", configuration.probe, 20)
    check_whole("trainer.epochs", configuration.trainer.epochs, 1)
    parts = assemble(configuration)
    if not isinstance(parts.objective, Capacity) or parts.data.factors is None:
        raise UserError(
            "capacity_sprites needs objective=capacity, annealing=null, penalty=null and data with factors, such as "
            "data=sprites"
        )
    if parts.recipe.stopping is not None:
        raise UserError("capacity_sprites follows C to the last epoch; give trainer.stopping=null")
    epochs, looks = configuration.trainer.epochs, []
    stages = [*range(configuration.every, epochs, configuration.every), epochs]
    for place, stage in enumerate(stages):
        look, resume = directory / "looks" / f"{stage}.json", place > 0 or configuration.resume is not None
        if not look.is_file() or stage == stages[-1]:  # a resumed run keeps the looks of its first part
            history = train(parts, configuration, directory, epochs=stage, resume=resume)
            _write_look(look, _explained(parts, configuration))
        looks.append(xr.DataArray.from_dict(json.loads(look.read_text())))
    progress = _progress(parts, history, stages, looks, len(parts.data) // configuration.trainer.batch_size)
    facts = {"data": parts.data.description, **environment(configuration.seed)}
    replace_atomically(directory / "results.csv", lambda path: progress.to_dataframe().to_csv(path))
    return publish(
        directory,
        title="Controlled capacity on sprites",
        lead="The KL is held at a capacity C that rises; what the codes know of each factor is measured on the way.",
        table=_table(progress),
        configuration=OmegaConf.to_yaml(configuration, resolve=True),
        facts=facts,
        figures=lambda: _figures(progress, history),
    )


def _write_look(path: Path, explained: xr.DataArray) -> None:
    path.parent.mkdir(exist_ok=True)
    replace_atomically(path, lambda temporary: temporary.write_text(json.dumps(explained.to_dict())))


def _explained(parts: Parts, configuration: DictConfig) -> xr.DataArray:
    """R² of each factor from the mean codes of the first images."""
    probe = slice(min(configuration.probe, len(parts.data)))
    images = parts.data.observed(probe, configuration.seed).to(next(parts.guide.parameters()).device)
    codes = mean_codes(from_pyro_svi(parts.model, parts.guide, images, 1))
    factors = parts.data.table.isel(image=probe)
    scores = [float(knn_explained(codes, factor)) for factor in factors.data_vars.values()]
    return xr.DataArray(scores, dims="factor", coords={"factor": list(factors.data_vars)})


def _progress(
    parts: Parts, history: xr.Dataset, stages: list[int], looks: list[xr.DataArray], steps: int
) -> xr.Dataset:
    """What each stage measured: mean capacity and KL of its last epoch, of so many steps, and R² of each factor."""
    capacity = [
        fmean(parts.objective.numbers(step)[0] for step in range((stage - 1) * steps, stage * steps))
        for stage in stages
    ]
    return xr.Dataset(
        {
            "capacity": ("epoch", capacity),
            "rate": ("epoch", history["rate"].sel(epoch=stages).values),
            "distortion": ("epoch", history["distortion"].sel(epoch=stages).values),
            "explained": xr.concat(looks, "epoch"),
        },
        coords={"epoch": stages},
    )


def _table(progress: xr.Dataset) -> Table:
    factors = [str(factor) for factor in progress["factor"].values]
    rows = [
        [
            int(epoch),
            *(round(float(progress[name].sel(epoch=epoch)), 1) for name in ("capacity", "rate", "distortion")),
            *(round(float(value), 2) for value in progress["explained"].sel(epoch=epoch)),
        ]
        for epoch in progress["epoch"].values
    ]
    caption = (
        "C and KL of the epoch in nats per image; R² of each factor from the ten nearest mean codes, −0.1 by chance."
    )
    return Table("KL, capacity and factors", ["epoch", "C", "KL", "distortion", *factors], rows, caption)


def _figures(progress: xr.Dataset, history: xr.Dataset) -> list[ReportFigure]:
    seen = _seen(progress)
    caption = (
        f"{seen} Above, the KL beside the capacity it should follow; below, how much of each factor the codes explain: "
        "it enters where its line leaves −0.1, where ten neighbours that know nothing put it."
    )
    alt = f"Two panels over {progress.sizes['epoch']} looks. {seen}"
    return [
        ReportFigure("capacity", caption, plot_capacity(progress), "Capacity, KL and factors", alt),
        kl_figure(history, "kl"),
    ]


def _seen(progress: xr.Dataset) -> str:
    """How far the KL was off its capacity, and in which order half of each factor was known."""
    off = abs(progress["rate"] - progress["capacity"])
    worst = off.isel(epoch=int(off.argmax("epoch")))
    known = (progress["explained"] > HALF).transpose("factor", "epoch")
    told = []
    for look, epoch in enumerate(known["epoch"].values):
        first = known[:, look] & ~known[:, :look].any("epoch")
        told += [f"{factor} from epoch {epoch}" for factor in known["factor"].values[first.values]]
    never = [str(factor) for factor in known["factor"].values[~known.any("epoch").values]]
    told += [f"{in_turn(never)} never"] if never else []
    furthest = f"{number(float(worst))} nats off its capacity, in epoch {int(worst['epoch'])}"
    return f"The KL is at most {furthest}; half is known of {in_turn(told)}."
