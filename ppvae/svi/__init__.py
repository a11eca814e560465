"""Stochastic variational inference: capture, the training loop, its stopping rule and its checkpoints."""

from ppvae.svi.capture import capture, compile_graph
from ppvae.svi.checkpoints import load_pair
from ppvae.svi.stopping import Plateau
from ppvae.svi.training import fit

__all__ = ["Plateau", "capture", "compile_graph", "fit", "load_pair"]
