"""One function a figure, from labelled arrays; no pyplot state, no global settings."""

from ppvae.plots.accuracies import plot_accuracies
from ppvae.plots.assignments import plot_assignments
from ppvae.plots.codes import plot_codes
from ppvae.plots.covariances import plot_covariances
from ppvae.plots.factors_entering import plot_capacity
from ppvae.plots.image_blocks import plot_image_blocks
from ppvae.plots.importance_matrix import plot_importance_matrix
from ppvae.plots.informative import plot_informative
from ppvae.plots.latent_cards import plot_latent_cards
from ppvae.plots.latent_grid import plot_latent_grid
from ppvae.plots.latent_history import plot_latent_history
from ppvae.plots.ranks import plot_calibration
from ppvae.plots.rate_distortion import plot_rate_distortion
from ppvae.plots.reconstructions import plot_reconstructions
from ppvae.plots.search import plot_search
from ppvae.plots.style_transfer import plot_style_transfer
from ppvae.plots.traversals import plot_traversals
from ppvae.plots.weights import plot_importance

__all__ = [
    "plot_accuracies",
    "plot_assignments",
    "plot_calibration",
    "plot_capacity",
    "plot_codes",
    "plot_covariances",
    "plot_image_blocks",
    "plot_importance",
    "plot_importance_matrix",
    "plot_informative",
    "plot_latent_cards",
    "plot_latent_grid",
    "plot_latent_history",
    "plot_rate_distortion",
    "plot_reconstructions",
    "plot_search",
    "plot_style_transfer",
    "plot_traversals",
]
