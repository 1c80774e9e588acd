from .layout import (
    is_log as is_log,
)
from .layout import (
    open_logs as open_logs,
)
from .reader import (
    PandaSetLog as PandaSetLog,
)
