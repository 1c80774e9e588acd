"""Do two splits of a data set show the same places: logs, frames and GPS tracks compared."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
