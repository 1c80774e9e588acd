"""The report of a training run, also while it goes on: its logs read, curves, tables, one offline page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
