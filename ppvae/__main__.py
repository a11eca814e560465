"""The command ``ppvae``, also ``python -m ppvae``."""

from importlib import import_module
from importlib.util import find_spec

__all__ = ["main"]

NAMES = ("ppvae_experiments", "experiments")  # of the command line: as a wheel installs it, and as a checkout has it


def main() -> None:
    """Run the command line, by name: no part of this package depends on it."""
    package = next(name for name in NAMES if find_spec(name))
    import_module(f"{package}.subcommands").main()


if __name__ == "__main__":
    main()
