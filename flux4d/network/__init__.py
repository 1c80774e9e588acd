"""Flux4D's sparse 3D U-Net: voxels, layers by backend, weights files (paper 3.2)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
