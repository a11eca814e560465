"""What the model draws when latents are set by hand."""

from ppvae.interventions.batch_statistics import reestimate
from ppvae.interventions.codes import redraw, transfer_style, two_codes, vary
from ppvae.interventions.conditions import draw_given
from ppvae.interventions.draws import draw_images, draws_from_prior, draws_given_z, sample
from ppvae.interventions.imputation import impute
from ppvae.interventions.in_painting import in_paint
from ppvae.interventions.kept_groups import keep_groups
from ppvae.interventions.latents import ablate, reconstruct
from ppvae.interventions.paths import interpolate
from ppvae.interventions.pictures import shown
from ppvae.interventions.relevance import relevance
from ppvae.interventions.temperature import Tempered
from ppvae.interventions.traversals import latent_grid, traverse

__all__ = [
    "Tempered",
    "ablate",
    "draw_given",
    "draw_images",
    "draws_from_prior",
    "draws_given_z",
    "impute",
    "in_paint",
    "interpolate",
    "keep_groups",
    "latent_grid",
    "reconstruct",
    "redraw",
    "reestimate",
    "relevance",
    "sample",
    "shown",
    "transfer_style",
    "traverse",
    "two_codes",
    "vary",
]
