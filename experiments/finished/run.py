"""A finished run: what its folder holds, and what its pair does with images."""

import json
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from omegaconf import DictConfig
from torch import nn

from ppvae import UserError, from_pyro_svi, read_posterior, sample
from ppvae.datasets import ImageDataset, Scaling, in_units
from ppvae.datasets.fitting import Fit
from ppvae.datasets.reading import reading
from ppvae.interventions import reconstruct, reestimate, traverse
from ppvae.interventions.held import data_of
from ppvae.ordinary import open_ordinary

from ..assemble import training_data
from ..code_table import encoded, named_labels
from .conditions import Conditions
from .intake import Images, Intake
from .reading import finished_folder, read_configuration, trained_pair
from .scoring import as_table, image_scores, training_scores

__all__ = ["FinishedRun", "load"]

LEVELS = "levels.json"  # of an export: the names of what a conditional pair is given
DRAWS = 64  # of each image that is scored
RANGE = 512  # training images over whose codes a traversal moves those of other images


def load(folder: str | PathLike[str], *, allow: Sequence[str] = ()) -> "FinishedRun":
    """The finished run in a folder; see :func:`ppvae.load`."""
    directory = finished_folder(folder)
    configuration = read_configuration(directory, allow)
    return FinishedRun(directory, configuration, *trained_pair(directory, configuration))


class FinishedRun:
    """A trained pair with the run's numbers, made by :func:`ppvae.load`.

    ``images``, wherever they are asked for: arrays or tensors (image, C, H, W), or one image (C, H, W), uint8 or floats
    in [0, 1]; a picture, a list of pictures, a folder or a .zip of them, which are fitted to the run's ``image_shape``
    as its own data were (``fit``: crop, pad or stretch, for another shape); .npz, .npy and .zarr; a data set. Of a run
    on a table rows (row, column) in the columns' own units: an array, a pandas table, or a file. ``given``: what the
    pair is given beside each image, also under its name, as ``{"label": "red"}``: a level by number or name, one for
    all or one for each; other images for a pair that is given images; of one trained with some labels its label.

    Everything that is drawn is by ``seed``, by default the run's. Errors are one line, :class:`~ppvae.UserError`.
    """

    def __init__(self, folder: Path, configuration: DictConfig, model: nn.Module, guide: nn.Module) -> None:
        self.folder, self.configuration = folder, configuration
        self.model, self.guide = model, guide

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.intake.image_shape))
        made = ", ".join(type(part).__name__ for part in (self.model, self.guide))
        return f"FinishedRun({str(self.folder)!r}: {made}, images {shape})"

    # what the folder holds

    @property
    def codes(self) -> pd.DataFrame:
        """``codes.csv``: a row an image of the run's data, its part, file and factors, then each latent's mean and
        standard deviation."""
        path = self._kept("codes.csv", "encode(run.data) makes them of data that are at hand, an export has codes=True")
        with reading(path, "table of codes", "encode(run.data) makes it again"), open_ordinary(path) as file:
            return pd.read_csv(file, index_col="image")

    @property
    def posterior(self) -> xr.DataTree:
        """The stored posterior of the first training images, read lazily."""
        return read_posterior(self._kept("posterior.zarr", "an export has it with posterior=True"))

    @property
    def report(self) -> Path:
        """The path of ``report.html``."""
        return self._kept("report.html", "it lies in the folder of the run itself")

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured; None where a number was not finite."""
        path = self.folder / "metrics.json"
        with reading(path, "record of metrics", "rerun= repeats the run"), open_ordinary(path) as file:
            return dict(json.load(file))

    @property
    def history(self) -> xr.Dataset:
        """The training by epoch."""
        return read_posterior(self._kept("history.zarr", "it lies in the folder of the run itself")).to_dataset()

    @cached_property
    def data(self) -> ImageDataset:
        """The run's training data, with what they are given, made or read again."""
        return training_data(self.configuration.copy())[0]

    # what the pair does

    def encode(
        self, images: Images, *, given: Any = None, fit: Fit | None = None, seed: int | None = None
    ) -> pd.DataFrame:
        """A row an image: its ``file``, where it is one, and the mean and standard deviation of each latent under
        q(z | x), named as in ``codes``; of a feature map those of its entries. Of a pair with some labels before them
        ``named_label``, the most probable one by the image alone, and ``named_probability``, how probable."""
        data = self._seen(images, given, fit)
        codes = encoded(self.model, self.guide, data, self._batch_size, self._seed(seed))
        return self._files(data).assign(**self._named(data)).join(codes)

    def sample(
        self,
        n: int = 1,
        temperature: float = 1.0,
        *,
        given: Any = None,
        sites: Collection[str] | None = None,
        pixels: Literal["mean", "draw"] | None = None,
        seed: int = 0,
    ) -> xr.DataArray:
        """``n`` draws of the model, (draw, channel, row, column), or of a table (draw, column) in its own units.

        ``pixels``: the ``mean`` of p(x | z), or a ``draw`` of it: by default the mean where there is one, of rows a
        draw. ``temperature`` and ``sites`` as for :func:`ppvae.sample`. At 1 the draws are those of the model that
        :meth:`score` scores; at any other BatchNorm's statistics, where there are any, are those of draws at that
        temperature (:func:`ppvae.interventions.reestimate`).
        """
        if pixels is None and self.intake.of_rows:
            pixels = "draw"
        how = self._conditions.draws(n, given)
        at: dict[str, Any] = {"temperature": temperature, "sites": sites, "seed": seed}
        with nullcontext() if temperature == 1 else reestimate(self.model, like=how.get("like"), **at):
            return self._in_units(sample(self.model, n, pixels=pixels, **how, **at))

    def reconstruct(
        self, images: Images, *, given: Any = None, fit: Fit | None = None, seed: int | None = None
    ) -> xr.DataArray:
        """The mean of p(x | z) at the mean of q(z | x) of each image, (image, channel, row, column), or (image, column)
        in a table's own units; a draw where the likelihood has no mean, as the attribute ``shown`` says."""
        return self._in_units(reconstruct(self.model, self._tree(self._seen(images, given, fit), self._seed(seed))))

    def traverse(
        self,
        images: Images | None = None,
        *,
        image: int = 0,
        steps: int = 9,
        site: str | None = None,
        given: Any = None,
        fit: Fit | None = None,
    ) -> xr.DataArray:
        """One image redrawn with each latent of a code moved over the range of its codes, as
        :func:`ppvae.interventions.traverse`: (latent, step, channel, row, column), or (latent, step, column).

        ``image``: which of the run's own, or of the ``images`` that are given, whose codes then move over the range of
        both. ``site``: which code, of several.
        """
        tree = self.moments(images, given=given, fit=fit)
        return self._in_units(traverse(self.model, tree, image=image, steps=steps, site=site))

    def moments(self, images: Images | None = None, *, given: Any = None, fit: Fit | None = None) -> xr.DataTree:
        """Means and variances of all codes, as :mod:`ppvae.interventions` takes them: the stored posterior or, of
        ``images``, one of them and then of the run's first training images, where it keeps these, over whose range an
        image's latents are moved."""
        if images is None:
            if given is not None:
                raise UserError("given: the run's own images keep what they were given; leave it out, or give images")
            return self.posterior
        data = self._seen(images, given, fit).arguments()
        if (self.folder / "posterior.zarr").exists():
            own = data_of(self.posterior.isel(image=slice(RANGE)))[: len(data)]
            data = tuple(torch.cat(both) for both in zip(data, own, strict=True))
        return self._tree(data, self._seed(None))

    def score(
        self,
        images: Images,
        *,
        given: Any = None,
        draws: int = DRAWS,
        fit: Fit | None = None,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """A row an image: ``log_marginal``, log p(x) in nats by so many ``draws`` from the guide, its ``elbo``,
        ``effective_samples`` and ``pareto_k`` (:func:`ppvae.log_marginal`), and ``anomaly``, in [0, 1].

        The anomaly is the share of the run's first 500 training images that are more probable, by as many draws; they
        are measured once and kept in the run's folder. Images of the same kind that were not trained on lie higher, by
        as much as the pair overfits. A probable image need not be a usual one (Nalisnick et al. 2019). Of a conditional
        pair log p(x | y), of one with a view log p(x) of the image alone, of rows in their standardised units; of one
        with some labels log p(x), unless they are ``given``: log p(x, y), which is less.
        """
        data, seed = self._seen(images, given, fit), self._seed(seed)
        if given is None and not self._conditions.wanted:
            data = data.with_inputs()  # log p(x), not log p(x, label), of which the training images are ranked
        training = self._training_scores(draws, seed)
        found = image_scores(self.model, self.guide, data, draws, seed, self._held_out_batch)
        return as_table(found, training, self._files(data))

    def export(
        self, folder: str | PathLike[str], *, license: str | None = None, posterior: bool = False, codes: bool = False
    ) -> Path:
        """Write the run as a folder to be given away, which :func:`ppvae.load` reads: ``model.safetensors``,
        ``config.yaml``, ``README.md`` (a model card) and its metrics; returns its path.

        ``license``: as the card names it, such as ``apache-2.0``. Of the training data it holds log p(x) of the first
        500 images, sorted, for :meth:`score`, a table's columns with their scaling, and the names of labels that may be
        given. ``codes``: whether ``codes.csv`` goes along, a row an image with its file and factors; ``posterior``:
        whether the stored posterior does, which holds images. The card says which. Of files and folders that the
        configuration and the command name, the last part alone is told.
        Errors: :class:`~ppvae.UserError` for a folder that holds files, which stays as it is, and what the run has not.
        """
        from .export import export  # here: a card's words are of the metrics, which take seconds to import

        return export(self, Path(folder), license=license, posterior=posterior, codes=codes)

    def keep_training_scores(self) -> None:
        """Measure what :meth:`score` ranks images among, where that is not kept yet and can be."""
        if (self.folder / "posterior.zarr").exists():
            self._training_scores(DRAWS, self._seed(None))

    @cached_property
    def level_names(self) -> list[Any]:
        """Of the factor that the pair is given, as a label, in the order of its levels; empty where there is none."""
        conditions = Conditions(self.configuration, self.intake)
        if not conditions.of_levels:
            return []
        path = self.folder / LEVELS
        if path.is_file():
            with reading(path, "list of levels", "export the run again"), open_ordinary(path) as file:
                return list(json.load(file))
        if not (self.folder / "posterior.zarr").exists():
            return []
        values = self.posterior["constant_data"][str(conditions.name)].attrs.get("values", ())
        return [value for value in values if conditions.labels is None or value != conditions.labels.unknown]

    @property
    def intake(self) -> Intake:
        """How it takes images."""
        return Intake(self.configuration, self.folder)

    # how

    @property
    def _conditions(self) -> Conditions:
        return Conditions(self.configuration, self.intake, self.level_names)

    def _seen(self, images: Images, given: Any, fit: Fit | None) -> ImageDataset:
        return self._conditions.beside(self.intake.dataset(images, fit), given)

    def _named(self, data: ImageDataset) -> dict[str, np.ndarray]:
        """The label that the classifier of a pair with some labels names."""
        labels = self._conditions.labels
        if labels is None:
            return {}
        names = self.level_names or range(labels.levels)
        return named_labels(self.guide, data, labels.factor, names, self._batch_size)

    def _tree(self, data: Any, seed: int) -> xr.DataTree:
        """Moments of all codes, no draws."""
        options: dict[str, Any] = {"prior": False, "log_likelihood": False, "sites": [], "moments": True}
        return from_pyro_svi(self.model, self.guide, data, 1, batch_size=self._batch_size, seed=seed, **options)

    def _training(self, count: int) -> tuple[torch.Tensor, ...]:
        """The first training images as the programs see them, with what is given with each; labels of a pair that does
        not need them are left out."""
        if not (self.folder / "posterior.zarr").exists():
            raise UserError(
                f"{self.folder} keeps no training images to rank others among: score with the draws that it was "
                f"exported with, {DRAWS}, or export it with posterior=True"
            )
        tree = self.posterior
        data = data_of(tree.isel(image=slice(count)))
        return data if self._conditions.wanted else data[:1]

    def _training_scores(self, draws: int, seed: int) -> xr.Dataset:
        return training_scores(
            self.folder, self.model, self.guide, self._training, draws, seed, batch_size=self._held_out_batch
        )

    def _in_units(self, drawn: xr.DataArray) -> xr.DataArray:
        if not self.intake.of_rows:
            return drawn
        columns = np.array(self.intake.columns)
        scaling = Scaling.read(self.folder / "columns.csv", columns)
        return in_units(drawn, xr.DataArray(columns, {"column": columns, **scaling.coords()}, "column"))

    def _files(self, data: ImageDataset) -> pd.DataFrame:
        """A row an image, under its number, with its file where there is one."""
        return pd.DataFrame(
            {} if data.files is None else {"file": data.files}, index=pd.Index(data.table["image"].values, name="image")
        )

    def _kept(self, name: str, otherwise: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise UserError(f"{self.folder} has no {name}: {otherwise}")
        return path

    def _seed(self, seed: int | None) -> int:
        return self.configuration.seed if seed is None else seed

    @property
    def _batch_size(self) -> int:
        return (self.configuration.get("posterior") or {}).get("batch_size", 1024)

    @property
    def _held_out_batch(self) -> int:
        return (self.configuration.get("held_out") or {}).get("batch_size", 4096)
