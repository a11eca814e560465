"""Diagnostics of a fitted pair: which latents carry information, and where its inference can be trusted."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names: __init__.pyi
