"""What only the pages of the evaluator show: its colours and the scene from above."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
