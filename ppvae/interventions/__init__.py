"""What the model draws when latents are set by hand."""

from ppvae.interventions.codes import redraw, transfer_style, two_codes, vary
from ppvae.interventions.latents import ablate, latent_grid, reconstruct, traverse
from ppvae.interventions.pictures import shown

__all__ = ["ablate", "latent_grid", "reconstruct", "redraw", "shown", "transfer_style", "traverse", "two_codes", "vary"]
