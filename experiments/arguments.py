"""Flags and words of a command that Hydra does not read."""

import argparse
from typing import NoReturn

from ppvae.errors import UserError

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}; {self.prog} --help lists what it takes")
