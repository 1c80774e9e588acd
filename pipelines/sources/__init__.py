"""Readers of driving logs, all behind the protocol in `pipelines.sources.base`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
