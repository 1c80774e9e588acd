"""Projection into the range image of a spinning LiDAR; `flux4d.lidar` is what others call."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
