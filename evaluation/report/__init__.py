"""The report of an evaluation: tables, definitions, pictures, provenance, one offline page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
