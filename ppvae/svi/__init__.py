"""Stochastic variational inference: capture, recipes, the training loop, stopping rules and checkpoints."""

from ppvae.svi.checkpoints import load_pair
from ppvae.svi.recipe import Recipe
from ppvae.svi.stopping import Patience, Plateau, StoppingRule
from ppvae.svi.training import fit

__all__ = ["Patience", "Plateau", "Recipe", "StoppingRule", "fit", "load_pair"]
