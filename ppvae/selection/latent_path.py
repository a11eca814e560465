"""One training from a weight of the rate that no latent pays for down to one that many do, looked at on the way."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr
from torch import nn

from ppvae.datasets import ImageDataset
from ppvae.diagnostics import informative_latents
from ppvae.diagnostics.contents import chosen_code, event_dims_of, rate_of
from ppvae.errors import UserError, check_whole
from ppvae.files import replace_atomically
from ppvae.interventions import ablate, relevance
from ppvae.launchers import launched
from ppvae.likelihoods import NormalLikelihood
from ppvae.metrics import factor_shares
from ppvae.nouns import noun_of
from ppvae.objectives import BetaELBO, Descending, Objective
from ppvae.pair.program import Data, inputs_of
from ppvae.posterior import from_pyro_svi
from ppvae.selection.entrance import entrance
from ppvae.selection.first import first_images
from ppvae.svi import fit
from ppvae.svi.checkpoints import save_checkpoint

__all__ = ["level_file", "path"]

SPAN = 60.0**2  # the first weight over the last, where neither is given: σ√β falls by 60


def path(
    model: nn.Module,
    guide: nn.Module,
    data: ImageDataset | Data,
    objective: Objective | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    levels: int = 40,
    epochs: int = 200,
    images: int = 1024,
    ablated: int = 256,
    site: str | None = None,
    batch_size: int = 64,
    seed: int = 0,
    directory: Path | str | None = None,
    resume: bool = False,
    **training: Any,
) -> xr.Dataset:
    """Train a pair, in place, while the weight of its rate falls, and say at each level which latents are in.

    The latents enter one after another, as variables do along a regularisation path; a number of them that holds over
    a wide span of weights (:func:`~ppvae.selection.plateaus`) is what the data ask for.

    ``objective``: whose KL part the weight multiplies, by default the ELBO. ``start``: the first weight, by default
    :func:`~ppvae.selection.entrance`, above which nothing enters; ``stop``: the last, by default 3 600 times less. The
    ``levels`` weights lie on a log grid and have ``epochs`` / ``levels`` epochs each, which go on from the level above.
    At the end of each level the first ``images`` are encoded, of which ``ablated`` are decoded with each latent
    replaced by its mean, and with each moved (:func:`~ppvae.interventions.relevance`), where the likelihood has a mean.

    A factor that enters at once, as a shape does, is first taken by several latents together, and the copies are
    given up slowly: fall by no more than 2 % of σ√β an epoch of some hundred steps (on sprites, 3.5 % left copies of
    the shape, 2 % none).

    ``site``: the code, where there are several. ``directory``: where the run, what each level found and its pair
    (``levels/07.pt``) are kept, to ``resume``. ``training``: more of :func:`~ppvae.fit`'s arguments.

    Returns: Dataset over ``level`` and ``latent``: what :func:`~ppvae.diagnostics.informative_latents` says of each
    latent, rules and numbers; by level ``weight``, ``rate``, ``distortion`` (nats), for normal pixels of a fixed scale
    ``noise``, scale·√weight, the standard deviation in grey levels that the weight stands for, and ``error``, the root
    mean squared error of the reconstruction; where the data have factors ``explained`` (factor, level, latent), the
    share of each factor's entropy that the latent, in 20 bins, tells.
    Errors: :class:`~ppvae.errors.UserError` for numbers that do not fit, for several processes, of which
    one alone would know what was found, and those of :func:`~ppvae.fit`.
    """
    _check_alone(training.get("devices"))
    per_level = _epochs_per_level(epochs, levels)
    start = entrance(model, data) if start is None else start
    steps = per_level * (len(inputs_of(data)[0] if not isinstance(data, ImageDataset) else data) // batch_size)
    falling = {"start": start, "stop": start / SPAN if stop is None else stop, "levels": levels, "steps": max(steps, 1)}
    falls = Descending(objective=objective or BetaELBO(), **falling)
    looks = _Looks(model, guide, data, falls, per_level, images, ablated, site, seed, directory)
    if resume and directory is not None:
        looks.take_up(Path(directory))
    fit(
        model,
        guide,
        data,
        falls,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        directory=directory,
        resume=resume,
        after_epoch=looks,
        **training,
    )
    return looks.together()


def level_file(directory: Path | str, level: int, suffix: str) -> Path:
    """Where a path keeps what a level found (``.json``) and its pair (``.pt``)."""
    return Path(directory) / "levels" / f"{level:02d}{suffix}"


def _check_alone(devices: int | None) -> None:
    """UserError where several processes would train: one alone would know what was found."""
    there = launched()
    processes = there.processes if there is not None and devices != 1 else devices or 1
    if processes != 1:
        raise UserError(f"a path is of one process, not of {processes}; give devices=1, trainer.devices=1 by Hydra")


def _epochs_per_level(epochs: int, levels: int) -> int:
    check_whole("levels", levels, 2)
    check_whole("epochs", epochs, levels)
    if epochs % levels:
        raise UserError(f"epochs={epochs} cannot be shared by {levels} levels; give a multiple")
    return epochs // levels


@dataclass
class _Looks:
    """What the levels found so far; called after each epoch of the training."""

    model: nn.Module
    guide: nn.Module
    data: ImageDataset | Data
    falls: Descending
    per_level: int
    images: int
    ablated: int
    site: str | None
    seed: int
    directory: Path | str | None
    found: dict[int, xr.Dataset] = field(default_factory=dict)

    def __call__(self, history: xr.Dataset) -> None:
        level, rest = divmod(history.sizes["epoch"], self.per_level)
        if rest:
            return
        self.found[level - 1] = self._look()
        if self.directory is not None:
            self._keep(level - 1)

    def take_up(self, directory: Path) -> None:
        """What an earlier part of this run has found."""
        for level in range(self.falls.levels):
            kept = level_file(directory, level, ".json")
            if kept.is_file():
                self.found[level] = xr.Dataset.from_dict(json.loads(kept.read_text()))

    def together(self) -> xr.Dataset:
        """All levels in one Dataset."""
        if sorted(self.found) != list(range(self.falls.levels)):
            missing = sorted(set(range(self.falls.levels)) - set(self.found))
            raise UserError(f"the path lacks what levels {missing} found; begin it anew in another directory")
        levels = [self.found[level] for level in sorted(self.found)]
        whole = xr.concat(levels, "level", join="exact", combine_attrs="drop_conflicts")
        weights = xr.DataArray(list(self.falls.weights), dims="level", attrs={"long_name": "weight of the rate"})
        whole = whole.assign_coords(level=range(self.falls.levels), weight=weights)
        likelihood = getattr(self.model, "likelihood", None)
        if isinstance(likelihood, NormalLikelihood) and likelihood.scale_mode == "fixed":
            noise = float(likelihood.log_scale.exp()) * weights**0.5
            said = {"long_name": "scale · √weight", "units": "grey levels, of 0 to 1"}
            whole = whole.assign_coords(noise=noise.assign_attrs(said))
        return whole

    def _look(self) -> xr.Dataset:
        tree = from_pyro_svi(
            self.model,
            self.guide,
            first_images(self.data, self.images),
            1,
            constant_data=self._factors(),
            seed=self.seed,
        )
        site = chosen_code(tree, self.site)
        few = tree.isel(image=slice(self.ablated))
        ablation = ablate(self.model, few, site=site)
        slopes = relevance(self.model, few, site=site) if "relative" in ablation else None
        found = informative_latents(tree, ablation, relevance=slopes, site=site)
        found["rate"] = rate_of(tree, site)
        found["distortion"] = -sum(term.mean() for term in tree["log_likelihood"].to_dataset().data_vars.values())
        if "squared_error" in ablation.attrs:
            found["error"] = self._error(float(ablation.attrs["squared_error"]), few)
        if "constant_data" in tree.children and not event_dims_of(tree, site)[1:]:
            found["explained"] = self._explained(tree, site)
        return found.drop_attrs(deep=False).assign_attrs(site=site)

    def _error(self, squared_error: float, few: xr.DataTree) -> xr.DataArray:
        """Of an entry that is there; ``squared_error`` is an image's, summed."""
        observed = next(iter(few["observed_data"].data_vars.values()))
        there = float(observed.notnull().sum()) / observed.sizes["image"]
        noun = noun_of(self.data)
        return xr.DataArray((squared_error / there) ** 0.5, attrs={"long_name": f"RMSE of {noun.a_pixel}"})

    def _factors(self) -> xr.Dataset | None:
        factors = getattr(self.data, "factors", None)
        return None if factors is None else factors.isel(image=slice(self.images))

    def _explained(self, tree: xr.DataTree, site: str) -> xr.DataArray:
        codes, factors = tree["sample_stats"][f"{site}_mean"], self._factors()
        own = event_dims_of(tree, site)[0]
        codes = codes.rename({own: "latent"}) if own != "latent" else codes
        return factor_shares(codes.transpose("image", "latent"), factors)

    def _keep(self, level: int) -> None:
        where = level_file(self.directory, level, ".json")
        where.parent.mkdir(parents=True, exist_ok=True)
        states = {"model": self.model.state_dict(), "guide": self.guide.state_dict()}
        save_checkpoint(level_file(self.directory, level, ".pt"), states)
        text = json.dumps(self.found[level].to_dict())
        replace_atomically(where, lambda temporary: temporary.write_text(text))
