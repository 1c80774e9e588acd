"""One optimiser step: losses, gradients over all ranks, update, and its record."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
