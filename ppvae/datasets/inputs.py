"""What programs are called with beside the images: labels, masks, second images."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.errors import UserError

__all__ = ["checked_inputs"]


def checked_inputs(inputs: Sequence[str] | Mapping[str, Any], table: xr.Dataset) -> dict[str, Tensor]:
    """Each input by name, (N, ...) for the N images of the factors' ``table``: int64 levels of a factor, numbers
    of a continuous one, or as given.

    Errors: :class:`~ppvae.errors.UserError` for an unknown factor, another number of rows, or numbers that are none.
    """
    if isinstance(inputs, str):
        raise UserError(f"inputs={inputs!r}: expected a list of names, such as [{inputs!r}]")
    if not isinstance(inputs, Mapping):
        return {name: _levels(name, table) for name in inputs}
    return {name: _array(name, values, table.sizes["image"]) for name, values in inputs.items()}


def _levels(name: str, table: xr.Dataset) -> Tensor:
    if name not in table.data_vars:
        names = list(map(str, table.data_vars))
        near = get_close_matches(str(name), names, 1)
        known = f"did you mean {near[0]!r}?" if near else f"these are {', '.join(names) or 'none'}"
        raise UserError(f"inputs has {name!r}, expected a factor of these images: {known}")
    if table[name].dtype.kind == "f":
        return torch.from_numpy(table[name].values).to(torch.get_default_dtype())
    return torch.from_numpy(table[name].values.astype(np.int64))


def _array(name: str, values: Any, images: int) -> Tensor:
    try:
        tensor = torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values)
    except TypeError:
        raise UserError(f"input {name!r} holds {np.asarray(values).dtype} values; expected numbers") from None
    if tensor.dim() == 0 or len(tensor) != images:
        raise UserError(f"input {name!r} has shape {tuple(tensor.shape)}; expected ({images}, ...), one row an image")
    return tensor
