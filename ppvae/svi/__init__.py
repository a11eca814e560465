"""Stochastic variational inference: capture, the training loop, its stopping rule and its checkpoints."""

from ppvae.svi.capture import capture, compile_graph
from ppvae.svi.checkpoints import load_pair
from ppvae.svi.loop import fit
from ppvae.svi.stopping import Plateau

__all__ = ["Plateau", "capture", "compile_graph", "fit", "load_pair"]
