"""Checkpoints: everything a run is made of after a step, sealed and complete."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
