"""The front of the three command lines: options they share, errors in one sentence, exit statuses, progress bars."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
