from .results import (
    LidarEvaluation as LidarEvaluation,
)
from .session import (
    run_lidar as run_lidar,
)
