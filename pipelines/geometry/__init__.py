"""Rigid transforms, projection and GPS coordinates, with the same bits on every CPU."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
