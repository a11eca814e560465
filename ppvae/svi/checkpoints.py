"""Checkpoints: tensors, numbers and strings, never code."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ppvae.errors import UserError
from ppvae.files import replace_atomically

__all__ = ["load_checkpoint", "load_pair", "save_checkpoint"]

FORMAT = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path`` in one step: a kill leaves the old file or the new one, never half of one."""
    replace_atomically(path, lambda temporary: torch.save({"format": FORMAT, **content}, temporary))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU with ``weights_only=True``; one-line UserError where that is not possible."""
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}; train first, or give the path of a checkpoint.pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError):
        raise UserError(f"checkpoint {path} is damaged or no checkpoint; delete it and train again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"checkpoint {path} is not of format {FORMAT} of ppvae; delete it and train again")
    return content


def load_pair(path: Path | str, model: nn.Module, guide: nn.Module) -> None:
    """Fill ``model`` and ``guide`` with the parameters of the checkpoint at ``path``.

    Errors: :class:`~ppvae.errors.UserError` for a missing or damaged file, or parameters of other shapes.
    """
    load_states(Path(path), load_checkpoint(Path(path)), model=model, guide=guide)


def load_states(path: Path, content: dict[str, Any], **modules: nn.Module) -> None:
    """Fill each module from ``content``; one-line UserError where its parameters differ."""
    for name, module in modules.items():
        own, saved = module.state_dict(), content.get(name, {})
        odd = [key for key in own.keys() | saved.keys() if _shape(own.get(key)) != _shape(saved.get(key))]
        if odd:
            raise UserError(
                f"checkpoint {path} is of another {name}: {min(odd)!r} has shape {_shape(saved.get(min(odd)))} there "
                f"and {_shape(own.get(min(odd)))} here; use the configuration it was trained with"
            )
        module.load_state_dict(saved)


def _shape(tensor: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)
