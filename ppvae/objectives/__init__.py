"""Objectives: what SVI minimises, one small object each, built around a model/guide pair and never inside it."""

from ppvae.objectives.annealing import Annealed
from ppvae.objectives.balanced import Balanced
from ppvae.objectives.beta import BetaELBO
from ppvae.objectives.capacity import Capacity
from ppvae.objectives.descending import Descending
from ppvae.objectives.free_bits import FreeBits, SoftFreeBits
from ppvae.objectives.geco import GECO
from ppvae.objectives.importance_weighted import ImportanceWeighted
from ppvae.objectives.objective import Objective
from ppvae.objectives.penalised import Penalised
from ppvae.objectives.supervised import Supervised
from ppvae.objectives.total_correlation import TotalCorrelation

__all__ = [
    "GECO",
    "Annealed",
    "Balanced",
    "BetaELBO",
    "Capacity",
    "Descending",
    "FreeBits",
    "ImportanceWeighted",
    "Objective",
    "Penalised",
    "SoftFreeBits",
    "Supervised",
    "TotalCorrelation",
]
