"""Metrics of images and scene flow, what they are compared with, and the points they are taken on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
