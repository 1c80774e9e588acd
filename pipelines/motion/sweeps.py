"""What the motion search is given and what it says: LiDAR returns in, a velocity of each out. No label enters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.base import Sweep


@dataclass(frozen=True, slots=True, eq=False)
class MotionSweep:
    """One LiDAR frame; P returns of all LiDARs, in file order."""

    time: float  # s, stamp
    ego2world: NDArray[np.float64]  # [4, 4] at `time`
    points: NDArray[np.float64]  # [P, 3] m, world, ego motion compensated
    times: NDArray[np.float64]  # [P] s, each return's own time
    sensor: NDArray[np.uint8]  # [P] 0 spinning, 1 forward

    @classmethod
    def of(cls, sweep: Sweep, ego2world: NDArray[np.float64]) -> MotionSweep:  # ego2world [4, 4] at the stamp
        """The part of a log's sweep that the search may see, and where the ego was.

        Raises:
            ValueError: lengths differ, or a value is not finite.
        """
        count = len(sweep.points)
        if sweep.points.shape != (count, 3) or len(sweep.times) != count or len(sweep.sensor) != count:
            raise ValueError(
                f"frame {sweep.frame}: {count} points of shape {sweep.points.shape}, {len(sweep.times)} times and "
                f"{len(sweep.sensor)} sensors: a sweep has one of each per return"
            )
        if not (np.isfinite(sweep.points).all() and np.isfinite(sweep.times).all()):
            raise ValueError(f"frame {sweep.frame}: a point or its time is not finite; leave such returns out")
        return cls(sweep.time, ego2world, sweep.points, sweep.times, sweep.sensor)


@dataclass(frozen=True, slots=True, eq=False)
class SweepMotion:
    """What the returns of one sweep do; P rows."""

    velocity: NDArray[np.float32]  # [P, 3] m/s, world axes, at each return's own time; 0 where nothing moves
    confidence: NDArray[np.float32]  # [P] 0..1; 0: could not be judged, and the velocity of 0 says nothing
    cluster: NDArray[np.int32]  # [P] object that the return belongs to, -1 none; the same in every sweep
    ground: NDArray[np.bool_]  # [P] on the ground
    static: NDArray[np.bool_]  # [P] judged to stand still
