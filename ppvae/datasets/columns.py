"""What a file says of each picture, as factors: levels, or the numbers of a continuous factor."""

import logging
from collections.abc import Collection, Mapping

import numpy as np
import xarray as xr

from ppvae.datasets.factors import factor_of
from ppvae.errors import UserError

__all__ = ["factors_of"]

logger = logging.getLogger(__name__)


def factors_of(
    columns: Mapping[str, np.ndarray], images: int, wanted: Collection[str] | None, source: str
) -> dict[str, xr.DataArray]:
    """The columns as factors; with ``wanted`` those alone, else every one that can be a factor, the rest logged.

    Errors: :class:`~ppvae.errors.UserError` for a wanted column that cannot be one, with the reason.
    """
    found = {}
    for name in columns if wanted is None else wanted:
        try:
            found[name] = factor_of(name, columns[name], images, named=wanted is not None)
        except UserError as error:
            if wanted is not None:
                raise UserError(f"{source}: {error}") from None
            logger.warning("%s, not used: %s", source, error)
    return found
