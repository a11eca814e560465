"""An explorer's server beside a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.explorer import Explorer
from experiments.explorer.server import Server

__all__ = ["serving"]


@contextmanager
def serving(explorer: Explorer) -> Iterator[Server]:
    """It answers, in a thread of its own, until the block ends."""
    with Server(explorer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
