from .plan import (
    BuildConfig as BuildConfig,
)
from .run import (
    BuildResult as BuildResult,
)
from .run import (
    build as build,
)
from .run import (
    resume as resume,
)
