"""Terms of the training loss, one in each file, and their weighted sum (paper Eq. 3-5)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
