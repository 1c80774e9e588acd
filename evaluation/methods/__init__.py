"""What is scored: ways to make a scene of a clip, and ways to make its images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
