"""How many latents data ask for: a study's ``measure`` that follows the latents as the weight of the rate falls."""

import json
import math
from pathlib import Path

import xarray as xr
from omegaconf import DictConfig

from ppvae import from_pyro_svi, read_posterior
from ppvae.errors import UserError
from ppvae.files import replace_atomically
from ppvae.interventions import traverse
from ppvae.metrics import dci_metric, mig_metric
from ppvae.pair.untouched import unit_of
from ppvae.plots import plot_traversals
from ppvae.selection import chosen_plateau, plateaus, say_plateaus
from ppvae.selection.first import first_images
from ppvae.selection.plateaus import strength
from ppvae.selection.selecting import pair_of_level

from ..assemble import Parts, assemble
from ..codes import mean_codes
from ..configuration_files import load_configuration
from ..figures import moving, path_figure
from ..fitting import follow_path
from ..labels import labelled
from ..report import ReportFigure
from ..training import keep_configuration

__all__ = ["figures", "follow"]

FOLLOWED = {
    "latents": "latents on the widest plateau, by ablation",
    "from": "plateau from σ√β (or β)",
    "to": "plateau to σ√β (or β)",
    "width": "its width, log of their ratio",
    "by_relevance": "latents by relevance at its end",
    "by_kl": "latents by KL at its end",
    "factors_named": "factors that one of these latents tells most of",
    "dci": "DCI, disentanglement",
    "mig": "MIG",
    "rate": "rate (nats)",
    "error": "RMSE of a reconstruction at the plateau's end",
    "in_at_last": "latents at the last weight",
    "seconds": "training time (s)",
}


@labelled(FOLLOWED)
def follow(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """Follow the path and write ``path.zarr``, ``path.csv`` and ``metrics.json``: the widest plateau, and the pair at
    its end, cut to the latents that are in.
    """
    parts = assemble(configuration)
    keep_configuration(configuration, directory)
    settings = dict(configuration.get("path") or {}) | {"epochs": configuration.trainer.epochs}
    found = follow_path(parts, configuration, directory, settings, parts.objective, resume=resume)
    metrics = {"data": parts.data.description, "units": unit_of(parts.model), **_measured(found, parts, directory)}
    metrics = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in metrics.items()}
    replace_atomically(directory / "metrics.json", lambda path: path.write_text(json.dumps(metrics, indent=1)))


def _measured(found: xr.Dataset, parts: Parts, directory: Path) -> dict[str, float]:
    rule = plateaus(found).attrs["rule"]
    told = {"in_at_last": int(found[rule][-1].sum()), "seconds": found.attrs["seconds"]}
    plateau = chosen_plateau(found)
    if plateau is None:
        return {"latents": math.nan, **told}
    _, scale = strength(found)
    last = found.isel(level=int(plateau["last"]))
    return {
        "latents": int(plateau["count"]),
        "from": float(scale[int(plateau["first"])]),
        "to": float(scale[int(plateau["last"])]),
        "width": float(plateau["width"]),
        **{name: int(last[name].sum()) for name in ("by_relevance", "by_kl") if name in last},
        **{name: float(last[name]) for name in ("error", "rate") if name in last},
        **_of_factors(found, plateau, parts, directory),
        **told,
    }


def _of_factors(found: xr.Dataset, plateau: xr.Dataset, parts: Parts, directory: Path) -> dict[str, float]:
    """What the pair at the plateau's end, cut to the latents that are in, tells of the factors."""
    if "explained" not in found:
        return {}
    last = found.isel(level=int(plateau["last"]))
    told = last["explained"].isel(latent=last[plateau.attrs["rule"]].values)
    named: dict[str, float] = {"factors_named": len(set(told.idxmax("factor").values.tolist()))}
    images = parts.data.subset(slice(min(4096, len(parts.data))))
    scores = {"dci": dci_metric, "mig": mig_metric}
    try:
        model, guide, _ = pair_of_level(parts.model, parts.guide, parts.data, found, plateau, directory)
        codes = mean_codes(from_pyro_svi(model, guide, images, 1))
        return named | {k: float(score(codes, images.table, preset="quick")["score"]) for k, score in scores.items()}
    except UserError:  # one latent, too few images for the factors' levels, or a pair that cannot be cut
        return named


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """The path of each model's first seed, with what all its seeds say, and the kept latents' traversals."""
    return [figure for name in configuration.models for figure in _figures(name, configuration, directory / name)]


def _figures(name: str, configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    runs = [directory / f"seed{seed}" for seed in configuration.seeds]
    paths = [read_posterior(run / "path.zarr").to_dataset().load() for run in runs]
    said, plateau = say_plateaus(paths), chosen_plateau(paths[0])
    shown = f"Shown: seed {configuration.seeds[0]}; each level goes on from the one left of it."
    caption = f"{said[0].upper()}{said[1:]}. {shown}"
    path = path_figure(f"path_{name}", caption, f"The latent path: {name}", paths[0], plateau)
    return [path] if plateau is None else [path, *_traversals(name, runs[0], paths[0], plateau, configuration)]


def _traversals(
    name: str, run: Path, path: xr.Dataset, plateau: xr.Dataset, configuration: DictConfig
) -> list[ReportFigure]:
    parts = assemble(load_configuration(run / "config.yaml", configuration))
    try:
        model, guide, kept = pair_of_level(parts.model, parts.guide, parts.data, path, plateau, run)
    except UserError:  # it cannot be cut, as one with flows
        return []
    tree = from_pyro_svi(model, guide, first_images(parts.data), 1)
    names = ", ".join(f"z{number}" for number in kept)
    traversal = traverse(model, tree)
    caption = (
        f"What the pair that keeps {names} alone, numbered anew, draws as each moves, at the plateau's last weight: "
        f"{moving(traversal)}."
    )
    alt = f"{traversal.sizes['latent']} rows of {traversal.sizes['step']} images; {moving(traversal)}."
    return [ReportFigure(f"kept_{name}", caption, plot_traversals(traversal), f"The kept latents: {name}", alt)]
