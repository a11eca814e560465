"""One function a figure, from labelled arrays; no pyplot state, no global settings."""

from .accuracies import plot_accuracies
from .assignments import plot_assignments
from .codes import plot_codes
from .confusion import plot_confusion
from .costs import plot_costs
from .covariances import plot_covariances
from .draws import plot_draws
from .elbo import plot_elbo
from .factors_entering import plot_capacity
from .groups import plot_groups
from .image_blocks import plot_image_blocks
from .importance_matrix import plot_importance_matrix
from .informative import plot_informative
from .latent_cards import plot_latent_cards
from .latent_grid import plot_latent_grid
from .latent_history import plot_latent_history
from .latent_path import plot_latent_path
from .picture_rows import plot_interpolations, plot_kept_groups, plot_temperatures
from .ranks import plot_calibration
from .rate_distortion import plot_rate_distortion
from .reconstructions import plot_reconstructions
from .rows import plot_row_traversals, plot_rows, plot_table
from .search import plot_search
from .style_transfer import plot_style_transfer
from .sweep import plot_sweep
from .traversals import plot_traversals
from .weights import plot_importance

__all__ = [
    "plot_accuracies",
    "plot_assignments",
    "plot_calibration",
    "plot_capacity",
    "plot_codes",
    "plot_confusion",
    "plot_costs",
    "plot_covariances",
    "plot_draws",
    "plot_elbo",
    "plot_groups",
    "plot_image_blocks",
    "plot_importance",
    "plot_importance_matrix",
    "plot_informative",
    "plot_interpolations",
    "plot_kept_groups",
    "plot_latent_cards",
    "plot_latent_grid",
    "plot_latent_history",
    "plot_latent_path",
    "plot_rate_distortion",
    "plot_reconstructions",
    "plot_row_traversals",
    "plot_rows",
    "plot_search",
    "plot_style_transfer",
    "plot_sweep",
    "plot_table",
    "plot_temperatures",
    "plot_traversals",
]
