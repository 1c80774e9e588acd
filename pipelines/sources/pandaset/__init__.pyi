from .reader import (
    PandaSetLog as PandaSetLog,
)
from .source import (
    SOURCE as SOURCE,
)
