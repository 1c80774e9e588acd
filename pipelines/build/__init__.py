"""The build: which clips there are, the work by frames and shards, and the commit of a version."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
