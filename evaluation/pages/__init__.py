"""What the evaluator's pages share: style, charts, colours, a view from above."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
