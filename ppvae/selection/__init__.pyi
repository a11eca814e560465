"""How many latents the data ask for, and which: what each costs, where each enters, and the pair that keeps those."""

from .entrance import entrance
from .keeping import keep_latents
from .latent_path import path
from .plateaus import chosen_plateau, plateaus, say_plateau, say_plateaus
from .selecting import Selection, select

__all__ = [
    "Selection",
    "chosen_plateau",
    "entrance",
    "keep_latents",
    "path",
    "plateaus",
    "say_plateau",
    "say_plateaus",
    "select",
]
