"""What else is given with an image, set by hand: the same codes drawn under each label."""

from collections.abc import Collection

import pyro
import torch
import xarray as xr
from pyro import validation_enabled
from torch.nn.functional import one_hot

from ppvae.errors import UserError, check_whole
from ppvae.interventions.decoding import in_parts, joined
from ppvae.interventions.held import PIXELS
from ppvae.interventions.pictures import shown
from ppvae.interventions.temperature import Tempered
from ppvae.models.conditional import ConditionalVAE
from ppvae.models.semi_supervised import SemiSupervisedVAE
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["draw_given"]


def draw_given(
    model: ConditionalVAE | SemiSupervisedVAE,
    given: torch.Tensor,
    columns: int = 8,
    *,
    temperature: float = 1.0,
    sites: Collection[str] | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Images that the model draws: rows vary what is given, columns vary z, drawn from its prior once for all rows.

    Shapes: given as the model takes it, (given, ...), for example ``torch.arange(10)`` → (given, draw, channel, row,
    column), what stands for p(x | z, y) (:func:`~ppvae.interventions.shown`). What a column has in common is z's, what
    a row has in common is the label's. ``temperature`` of the latents, of ``sites`` alone where they are named: as for
    :func:`~ppvae.interventions.draw_images`.
    Of a semi-supervised model it is the label y, by numbers.
    Errors: :class:`~ppvae.errors.UserError` for a model that is not conditional, or no columns.
    """
    check_whole("columns", columns, 1)
    if isinstance(model, SemiSupervisedVAE):
        given, name = one_hot(given, model.levels), "y"
    elif isinstance(model, ConditionalVAE):
        name = "given"
    else:
        raise UserError(
            f"the model is a {type(model).__name__}, which is given images alone; expected a ConditionalVAE"
        )
    device = device_of(model)
    with evaluating(model, device=device, seed=seed), validation_enabled(False), pyro.plate("image", columns, dim=-1):
        tempered = Tempered(temperature, sites)
        z = tempered(model.prior)().cpu()
        tempered.check_met()
    codes = {"z": z.repeat(len(given), *[1] * (z.dim() - 1)), name: given.repeat_interleave(columns, 0)}
    found = joined(in_parts(model, lambda part: shown(model.decode(**part)), codes)).images
    return xr.DataArray(found.unflatten(0, (len(given), columns)).numpy(), dims=("given", "draw", *PIXELS), name="x")
