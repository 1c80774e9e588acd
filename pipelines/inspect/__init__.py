"""One frame of a raw log on one page: what the pipeline makes of it, drawn over what the sensors gave."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
