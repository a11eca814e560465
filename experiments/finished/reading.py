"""What a finished run's folder holds, read as a file that anybody may have written."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from ppvae.errors import UserError

from ..assemble import untrained_pair
from ..configuration_files import load_configuration
from ..endings import said_in_one_line
from ..folders import check_run, runs_below, said_of
from ..record import read_record
from ..resolvers import register_resolvers
from ..selecting import kept_pair
from ..weights import EXPORTED, load_trained

__all__ = ["finished_folder", "read_configuration", "trained_pair"]

OTHERWISE = "give a run that has one"  # where none is below a study's folder
PROBES = 2  # images on which a cut pair is compared with the whole


def finished_folder(folder: str | PathLike[str]) -> Path:
    """The folder of a run that is finished, or that was exported; UserError for any other, changing nothing."""
    directory = check_run("run", fspath(folder))
    state = read_record(directory).get("state", "finished")  # no record: of a study's member, or of an earlier version
    if state != "finished":
        raise UserError(f"{directory} is not finished, its state is {state!r}: resume={directory} goes on with it")
    if not _is_trained(directory):
        below = [path for path in runs_below(directory) if _is_whole(path)]
        raise UserError(f"{directory} holds no trained pair{', ' if below else '; '}{said_of(below) or OTHERWISE}")
    if not (directory / "metrics.json").is_file():
        raise UserError(
            f"{directory} is not finished, it has no metrics.json: resume={directory} goes on with it, or wait"
        )
    return directory


def _is_trained(directory: Path) -> bool:
    return any((directory / name).is_file() for name in ("checkpoint.pt", EXPORTED))


def _is_whole(directory: Path) -> bool:
    return _is_trained(directory) and (directory / "metrics.json").is_file()


def read_configuration(folder: Path, allow: Sequence[str] = ()) -> DictConfig:
    """Its ``config.yaml``, which may name parts of ours and torch's alone, and what ``allow`` begins.

    Errors: :class:`~ppvae.UserError` for any other name, and for a configuration that says not what images it is of.
    """
    if isinstance(allow, str):
        raise UserError(f"allow={allow!r}: expected a list of names, [{allow!r}]")
    register_resolvers()
    configuration = load_configuration(folder / "config.yaml", OmegaConf.create({"allow": list(allow)}))
    shape = configuration.get("image_shape")
    if not (
        isinstance(shape, ListConfig) and len(shape) == 3 and all(type(side) is int and side > 0 for side in shape)
    ):
        raise UserError(
            f"{folder / 'config.yaml'} has image_shape={shape}: expected [channels, rows, columns], as a run"
        )
    return configuration


@said_in_one_line("the run's configuration makes no pair")
def trained_pair(folder: Path, configuration: DictConfig) -> tuple[nn.Module, nn.Module]:
    """Model and guide as they were handed over after the training, in evaluation mode; no data are read."""
    model, guide = untrained_pair(configuration)
    probes = torch.arange(PROBES) % 2  # images of zeros and of ones, which are pixels of every kind
    probes = probes[:, None, None, None].float().expand(PROBES, *configuration.image_shape)
    model, guide = kept_pair(folder, model, guide, probes)
    load_trained(folder, configuration, model, guide)
    return model.eval(), guide.eval()
