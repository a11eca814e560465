"""The trained parameters of a pair: as training leaves them, and as safetensors, which hold nothing but tensors."""

import zlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from omegaconf import DictConfig
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from ppvae.errors import UserError, one_line
from ppvae.files import replace_atomically
from ppvae.ordinary import open_ordinary
from ppvae.svi import Patience, load_pair
from ppvae.svi.checkpoints import check_finite_states, load_states

from .assemble import stopping_rule

__all__ = ["EXPORTED", "load_trained", "weights_checksum", "write_safetensors"]

EXPORTED = "model.safetensors"
PROGRAMS = ("model", "guide")


def load_trained(folder: Path, configuration: DictConfig, model: nn.Module, guide: nn.Module) -> None:
    """Fill a pair with what the run in ``folder`` trained, or with what was exported there.

    Under early stopping that is the best epoch's pair, as it was handed over and measured, else the last checkpoint's.
    Errors: :class:`~ppvae.UserError` for a missing or damaged file, or parameters of another pair.
    """
    if (folder / EXPORTED).is_file() and not (folder / "checkpoint.pt").is_file():
        load_states(folder / EXPORTED, _read_safetensors(folder / EXPORTED), model=model, guide=guide)
        return
    best = folder / "best.pt"
    early = best.is_file() and isinstance(stopping_rule(configuration), Patience)
    load_pair(best if early else folder / "checkpoint.pt", model, guide)


def write_safetensors(path: Path, model: nn.Module, guide: nn.Module) -> None:
    """All parameters and buffers, as ``model.…`` and ``guide.…``; what the two share is there twice.

    The file's metadata have a checksum, which the format lacks.
    """
    tensors = _named(model, guide)
    told = {"format": "pt", "ppvae": version("ppvae"), "crc32": _checksum(tensors)}
    replace_atomically(path, lambda temporary: temporary.write_bytes(save(tensors, told)))  # for all who may read files


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """CRC-32 of the tensors' names and bytes, by name."""
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(name.encode(), found)
        found = zlib.crc32(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy(), found)
    return f"{found:08x}"


def weights_checksum(model: nn.Module, guide: nn.Module) -> str:
    """Of a pair as it is."""
    return _checksum(_named(model, guide))


def _named(model: nn.Module, guide: nn.Module) -> dict[str, torch.Tensor]:
    """Copies, as the format takes no tensors that share memory."""
    states = {"model": model.state_dict(), "guide": guide.state_dict()}
    return {
        f"{program}.{name}": values.detach().cpu().clone().contiguous()
        for program, state in states.items()
        for name, values in state.items()
    }


def _read_safetensors(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    try:
        open_ordinary(path).close()
        with safe_open(path, framework="pt") as file:
            tensors, told = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # whatever reading random bytes may raise
        raise UserError(f"{path} cannot be read ({one_line(error)}); export the run again") from None
    if told.get("crc32") != _checksum(tensors):
        raise UserError(
            f"{path} differs from its checksum, it is damaged or was not exported by ppvae; export it again"
        )
    content = {
        program: {
            name.removeprefix(f"{program}."): values
            for name, values in tensors.items()
            if name.startswith(f"{program}.")
        }
        for program in PROGRAMS
    }
    try:
        check_finite_states(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return content
