"""Looking at a store, comparing its versions, tidying it and describing it to other tools."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
