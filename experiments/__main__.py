"""The command line: ``uv run -m experiments [group=choice] [key=value] …``."""

from .endings import ended_in_one_line
from .signals import obey_signals

__all__ = ["main"]


def main() -> None:
    """Run the command line; a user's mistake, a full disk or a signal ends in one line and an exit code."""
    obey_signals()  # before what takes seconds to import
    with ended_in_one_line():
        from .command import command_line

        command_line()


if __name__ == "__main__":
    main()
