from .files import (
    RunFiles as RunFiles,
)
from .rows import (
    read_rows as read_rows,
)
