"""LiDAR reconstruction scored: held-out sweeps rendered as range images and compared with what was measured."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
