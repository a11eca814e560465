"""How many latents the data ask for, and which: what each costs, where each enters, and the pair that keeps those."""

from .costs import (
    NormalGammaPath,
    cost_of_copies,
    cost_of_parts,
    latent_costs,
    normal_cost,
    normal_gamma_cost,
    normal_mismatch,
    student_t_cost,
)
from .entrance import entrance
from .keeping import keep_latents
from .latent_path import path
from .linear import linear_loss, linear_optimum, soft_thresholding, water_filling
from .plateaus import chosen_plateau, plateaus, say_plateau, say_plateaus
from .selecting import select

__all__ = [
    "NormalGammaPath",
    "chosen_plateau",
    "cost_of_copies",
    "cost_of_parts",
    "entrance",
    "keep_latents",
    "latent_costs",
    "linear_loss",
    "linear_optimum",
    "normal_cost",
    "normal_gamma_cost",
    "normal_mismatch",
    "path",
    "plateaus",
    "say_plateau",
    "say_plateaus",
    "select",
    "soft_thresholding",
    "student_t_cost",
    "water_filling",
]
