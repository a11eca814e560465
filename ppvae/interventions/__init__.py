"""What the model draws when latents are set by hand."""

from ppvae.interventions.codes import redraw, transfer_style, two_codes, vary
from ppvae.interventions.conditions import draw_given
from ppvae.interventions.draws import draws_from_prior, draws_given_z
from ppvae.interventions.in_painting import in_paint
from ppvae.interventions.latents import ablate, reconstruct
from ppvae.interventions.pictures import shown
from ppvae.interventions.traversals import latent_grid, traverse

__all__ = [
    "ablate",
    "draw_given",
    "draws_from_prior",
    "draws_given_z",
    "in_paint",
    "latent_grid",
    "reconstruct",
    "redraw",
    "shown",
    "transfer_style",
    "traverse",
    "two_codes",
    "vary",
]
