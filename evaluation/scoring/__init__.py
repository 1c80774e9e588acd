"""Methods scored on clips: reconstruct, render, compare, and make one evaluation of all clips."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
