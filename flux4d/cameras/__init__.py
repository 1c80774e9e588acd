"""Cameras: what is in view, how they move, and what their shutter does."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
