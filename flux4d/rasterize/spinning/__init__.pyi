from .sensor import (
    SpinningLidar as SpinningLidar,
)
