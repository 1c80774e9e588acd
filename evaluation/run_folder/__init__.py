"""The folder of a training run: what its files are called, and how they are read while the run may still go on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
