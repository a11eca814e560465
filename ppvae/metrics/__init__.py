"""Metrics of codes: covariance, distance from the prior, neighbours, dependence, disentanglement, clusters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names: __init__.pyi
