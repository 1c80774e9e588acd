"""PandaSet logs: layout, JSON, images, and pickled tables that are never unpickled."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
