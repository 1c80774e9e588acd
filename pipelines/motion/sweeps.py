"""What the motion search may see of a log: LiDAR returns with their times, and where the ego was. Nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class MotionSweep:
    """One LiDAR frame; P returns of all LiDARs, in file order."""

    time: float  # s, stamp
    ego: NDArray[np.float64]  # [4, 4] ego2world at `time`
    points: NDArray[np.float64]  # [P, 3] m, world, ego motion compensated
    times: NDArray[np.float64]  # [P] s, each return's own time
    sensor: NDArray[np.uint8]  # [P] 0 spinning, 1 forward
