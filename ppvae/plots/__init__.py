"""One function a figure, from labelled arrays; no pyplot state, no global settings."""

from ppvae.plots.capacity import plot_capacity
from ppvae.plots.codes import plot_codes
from ppvae.plots.covariances import plot_covariances
from ppvae.plots.informative import plot_informative
from ppvae.plots.latent_grid import plot_latent_grid
from ppvae.plots.latent_history import plot_latent_history
from ppvae.plots.rate_distortion import plot_rate_distortion
from ppvae.plots.reconstructions import plot_reconstructions
from ppvae.plots.traversals import plot_traversals

__all__ = [
    "plot_capacity",
    "plot_codes",
    "plot_covariances",
    "plot_informative",
    "plot_latent_grid",
    "plot_latent_history",
    "plot_rate_distortion",
    "plot_reconstructions",
    "plot_traversals",
]
