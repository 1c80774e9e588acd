from .cameras import (
    Cameras as Cameras,
)
from .posed import (
    Posed as Posed,
)
from .posed import (
    rendered_size as rendered_size,
)
from .shutter import (
    Shutter as Shutter,
)
