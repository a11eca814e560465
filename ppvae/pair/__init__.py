"""What a pair is: programs that own their parameters, their sites, and what one pass of both measures."""

from ppvae.pair.program import Program, record
from ppvae.pair.spread import spread

__all__ = ["Program", "record", "spread"]
