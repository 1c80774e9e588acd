"""A reconstructed 4D scene as a file that anyone can write, read and score (docs/scene_format.md)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
