"""The stream of samples: their order, making them ahead, moving them to the device."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
