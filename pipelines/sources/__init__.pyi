from .base import (
    CameraFrame as CameraFrame,
)
from .base import (
    Cuboids as Cuboids,
)
from .base import (
    LogError as LogError,
)
from .base import (
    LogReader as LogReader,
)
from .base import (
    Sweep as Sweep,
)
from .registry import (
    get_source as get_source,
)
from .registry import (
    register as register,
)
from .source import (
    Source as Source,
)
