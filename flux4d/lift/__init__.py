"""A clip's LiDAR lifted to 3D Gaussians, with colours and a background (paper 3.1)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
