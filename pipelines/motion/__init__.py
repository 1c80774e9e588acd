"""The motion of every LiDAR return from LiDAR, poses and times alone, without a label or a network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
