"""The command ``ppvae``, also ``python -m ppvae``."""

from ppvae.application import application

__all__ = ["main"]


def main() -> None:
    """Run the command line, by name: no part of this package depends on it."""
    application("subcommands").main()


if __name__ == "__main__":
    main()
