"""Truth from cuboids, for evaluation only: boxes of points, scene flow, moving masks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
