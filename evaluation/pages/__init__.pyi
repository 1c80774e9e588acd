from .birds_eye import (
    birds_eye as birds_eye,
)
from .colours import (
    depth_colours as depth_colours,
)
from .colours import (
    velocity_colours as velocity_colours,
)
