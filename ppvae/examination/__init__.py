"""What a pair must be run for, beyond its posterior: ranks, the aggregated posterior, log p(x), comparisons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names: __init__.pyi
