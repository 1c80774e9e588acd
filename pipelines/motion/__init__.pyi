from .config import (
    MotionConfig as MotionConfig,
)
from .estimate import (
    MotionEstimator as MotionEstimator,
)
from .estimate import (
    estimate_motion as estimate_motion,
)
from .sweeps import (
    MotionSweep as MotionSweep,
)
from .sweeps import (
    SweepMotion as SweepMotion,
)
