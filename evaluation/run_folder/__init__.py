"""The folder of a training run: its files, how they are read while the run may go on, and the network it trained."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
