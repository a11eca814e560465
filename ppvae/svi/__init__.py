"""Stochastic variational inference: capture, the training loop, its stopping rule and its checkpoints."""

from ppvae.svi.checkpoints import load_pair
from ppvae.svi.stopping import Plateau
from ppvae.svi.training import fit

__all__ = ["Plateau", "fit", "load_pair"]
