from .projection import (
    Projection as Projection,
)
from .projection import (
    project as project,
)
from .rigid import (
    compose as compose,
)
from .rigid import (
    interpolate_pose as interpolate_pose,
)
from .rigid import (
    invert_rigid as invert_rigid,
)
from .rigid import (
    transform_points as transform_points,
)
