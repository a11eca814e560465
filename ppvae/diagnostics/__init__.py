"""Diagnostics of a fitted pair: which latents carry information."""

from ppvae.diagnostics.latents import count_informative, informative_latents

__all__ = ["count_informative", "informative_latents"]
