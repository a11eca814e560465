"""The tree of a guide that draws one point: no leave-one-out, and a line that says so."""

from collections.abc import Mapping

import xarray as xr

from ppvae.errors import UserError

__all__ = ["PointTree", "is_point_estimate"]


class PointTree(xr.DataTree):
    """A tree whose draws are all one, such as AutoDelta's.

    ArviZ's ``loo`` and ``loo_approximate_posterior`` read ``tree.log_likelihood`` and would end in the middle of their
    statistics: draws that are alike have no tail. The group itself is there, ``tree["log_likelihood"]``.
    """

    __slots__ = ()

    @property
    def log_likelihood(self) -> xr.DataTree:
        """Errors: :class:`~ppvae.errors.UserError`, always."""
        raise UserError(
            "all draws are one point, as AutoDelta's are, so leaving one observation out cannot be weighed by them; "
            "use a guide with a spread (AutoNormal, AutoLaplaceApproximation), or read tree['log_likelihood'] itself"
        )


def is_point_estimate(groups: Mapping[str, xr.Dataset], sample_dims: tuple[str, ...]) -> bool:
    """Whether there are draws, and every observation has one log likelihood in all of them."""
    terms = groups.get("log_likelihood", xr.Dataset())
    if not terms.data_vars or terms.sizes[sample_dims[-1]] < 2:
        return False
    first = terms.isel(dict.fromkeys(sample_dims, 0))
    return bool((terms == first).all().to_array().all())
