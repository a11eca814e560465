"""``python -m experiments.finished WORD RUN …``."""

import sys

from ..endings import ended_in_one_line
from ..signals import obey_signals

if __name__ == "__main__":
    obey_signals()  # before what takes seconds to import
    with ended_in_one_line():
        from .command import main

        main(sys.argv[1:])
