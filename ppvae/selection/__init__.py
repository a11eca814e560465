"""How many latents the data ask for, and which: what each costs, where each enters, and the pair that keeps those."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names: __init__.pyi
