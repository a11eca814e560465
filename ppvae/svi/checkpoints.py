"""Checkpoints: tensors, numbers and strings, never code; what is damaged is noticed before anything is loaded."""

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ppvae.errors import UserError
from ppvae.files import replace_atomically

__all__ = ["load_checkpoint", "load_pair", "load_states", "save_checkpoint"]

FORMAT = 2
"""2: optimiser states by the parameters' names, resumable in the middle of an epoch, recipes, averages, the pair's
settings and a checksum of the data. 1: states by number, ends of epochs alone."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path`` in one step: a kill leaves the old file or the new one, never half of one.

    Errors: :class:`~ppvae.errors.UserError`, the old file kept, where a parameter or a buffer has diverged.
    """
    check_finite_states(content)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # torch's own writer would say nothing of a full disk
            torch.save({"format": FORMAT, **content}, file)

    replace_atomically(path, write)


def check_finite_states(content: Mapping[str, Any]) -> None:
    """UserError that names a parameter or a buffer which is NaN."""
    for part in ("model", "guide"):
        for name, values in content.get(part, {}).items():
            if values.is_floating_point() and bool(values.isnan().any()):
                raise UserError(f"{name!r} of the {part} has diverged, it holds NaN; lower learning_rate")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU with ``weights_only=True``, after its checksums; in today's format.

    Errors: one-line :class:`~ppvae.errors.UserError` that names the file, where it is missing, damaged or foreign.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}; train first, or give the path of a checkpoint.pt")
    try:
        content = torch.load(io.BytesIO(_checked_bytes(path)), map_location="cpu", weights_only=True)
    except Exception:  # whatever unpickling random bytes may raise
        raise UserError(f"checkpoint {path} is damaged or no checkpoint; restore it or train again") from None
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is int and version > FORMAT:
        raise UserError(f"checkpoint {path} is of format {version}, written by a later ppvae; update ppvae to read it")
    if type(version) is not int or version not in (1, FORMAT):
        raise UserError(f"checkpoint {path} is not of format {FORMAT} of ppvae; delete it and train again")
    wrong = _wrong(content)
    if wrong:
        raise UserError(f"checkpoint {path} is damaged or no checkpoint of ppvae: {wrong}; restore it or train again")
    return content


def load_pair(path: Path | str, model: nn.Module, guide: nn.Module) -> None:
    """Fill ``model`` and ``guide`` with the parameters of the checkpoint at ``path``.

    Errors: :class:`~ppvae.errors.UserError` for a missing or damaged file, or parameters of other shapes.
    """
    load_states(Path(path), load_checkpoint(Path(path)), model=model, guide=guide)


def load_states(path: Path, content: dict[str, Any], **modules: nn.Module) -> None:
    """Fill each module from ``content``; one-line UserError where its parameters differ, before any is filled."""
    for name, module in modules.items():
        own, saved = module.state_dict(), content.get(name, {})
        odd = [key for key in own.keys() | saved.keys() if _kind(own.get(key)) != _kind(saved.get(key))]
        if odd:
            there, here = (_said(states.get(min(odd))) for states in (saved, own))
            raise UserError(
                f"checkpoint {path} is of another {name}: {min(odd)!r} {there} there and {here} here; use the "
                "configuration it was trained with"
            )
    for name, module in modules.items():
        module.load_state_dict(content.get(name, {}))


def _checked_bytes(path: Path) -> bytes:
    """The file's bytes, once each of its parts has the CRC-32 that was noted when it was written."""
    with path.open("rb") as file:
        content = file.read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for part in archive.infolist():
            if part.compress_type != zipfile.ZIP_STORED or part.file_size > len(content):
                raise ValueError("no part of a checkpoint is compressed")
        if archive.testzip() is not None:
            raise ValueError("a part differs from its checksum")
    return content


def _tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(one, torch.Tensor) and _whole(one) for name, one in value.items()
    )


def _whole(tensor: torch.Tensor) -> bool:
    """Not a small storage that a few bytes declare to be a huge tensor."""
    return tensor.layout == torch.strided and tensor.nbytes <= tensor.untyped_storage().nbytes()


def _rows(value: Any) -> bool:
    """Epochs of a history: by name its dims and a row of numbers an epoch."""
    return (
        isinstance(value, dict)
        and all(isinstance(one, dict) and one.keys() == {"dims", "rows"} for one in value.values())
        and all(isinstance(one["rows"], list) and isinstance(one["dims"], list) for one in value.values())
        and len({len(one["rows"]) for one in value.values()}) <= 1
    )


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


PARTS: dict[str, Callable[[Any], bool]] = {
    "model": _tensors,
    "guide": _tensors,
    "objective": _tensors,
    "optimizer": _mapping,
    "history": _rows,
    "stopping": _mapping,
    "settings": _mapping,
    "execution": lambda value: isinstance(value, str),
    "progress": _mapping,
    "training": _mapping,
}


def _wrong(content: dict[str, Any]) -> str | None:
    """What does not look like a checkpoint; parts that are missing are missed by whoever needs them."""
    for name in ("model", "guide"):
        if name not in content:
            return f"it has no {name}"
    odd = [name for name, fits in PARTS.items() if name in content and not fits(content[name])]
    if odd:
        return f"its {odd[0]} is malformed"
    try:
        check_finite_states(content)
    except UserError as error:
        return str(error)
    return None


def _kind(tensor: torch.Tensor | None) -> tuple[Any, ...] | None:
    return None if tensor is None else (tuple(tensor.shape), tensor.dtype)


def _said(tensor: torch.Tensor | None) -> str:
    return "is missing" if tensor is None else f"has shape {tuple(tensor.shape)} and {str(tensor.dtype).split('.')[-1]}"
