"""The kit every HTML page is made with: shell, style, tables, charts, pictures, numbers as people read them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
