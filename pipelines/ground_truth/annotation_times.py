"""The time at which each cuboid is true: boxes follow returns that were measured before the sweep's stamp."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.ground_truth.point_boxes import assign_points
from pipelines.sources.base import Cuboids, Sweep
from store_schema.protocol import P0_RULES


def box_of_points(sweep: Sweep, cuboids: Cuboids) -> NDArray[np.int32]:
    """Row of the box of its own LiDAR that each point lies in [P], -1 none: what `annotation_times` takes."""
    return assign_points(sweep.points, sweep.sensor, cuboids, P0_RULES)[0]


def annotation_times(
    sweep: Sweep,
    cuboids: Cuboids,
    cuboid: NDArray[np.int32],  # [P] row of the box each point lies in, -1 none
) -> NDArray[np.float64]:
    """When each cuboid is true: the middle time of the returns it was drawn around.

    Those are the points in the box of the box's own LiDAR (the spinning one for boxes of both). A box without such
    points gets the time of that LiDAR's point nearest to its centre on the ground plane, and the sweep's stamp
    where that LiDAR has no point at all.

    Args:
        sweep: P points.
        cuboids: boxes of the same frame.
        cuboid: the boxes of the points, as `box_of_points` and, by the default rules, `SceneFlow.cuboid` give them.

    Returns:
        [M] s.
    """
    lidar = np.maximum(cuboids.sensor, 0)
    times: NDArray[np.float64] = _box_times(
        sweep.points, sweep.sensor, sweep.times, cuboid, cuboids.position, lidar, sweep.time
    )
    return times


@njit(cache=True, nogil=True)
def _box_times(
    points: NDArray[np.float64],  # [P, 3]
    sensor: NDArray[np.uint8],  # [P]
    times: NDArray[np.float64],  # [P]
    cuboid: NDArray[np.int32],  # [P]
    centre: NDArray[np.float64],  # [M, 3]
    lidar: NDArray[np.int8],  # [M]
    sweep_time: float,
) -> NDArray[np.float64]:
    start = np.zeros(len(lidar) + 2, dtype=np.int64)
    for i in range(len(points)):
        if cuboid[i] >= 0 and sensor[i] == lidar[cuboid[i]]:
            start[cuboid[i] + 2] += 1
    start = np.cumsum(start)
    held = np.empty(start[-1])
    for i in range(len(points)):
        if cuboid[i] >= 0 and sensor[i] == lidar[cuboid[i]]:
            held[start[cuboid[i] + 1]] = times[i]
            start[cuboid[i] + 1] += 1
    middle = np.empty(len(lidar))
    for m in range(len(lidar)):
        own = held[start[m] : start[m + 1]]
        if len(own):
            middle[m] = np.partition(own, len(own) // 2)[len(own) // 2]
        else:
            middle[m] = _time_of_nearest(points, sensor, times, centre[m], lidar[m], sweep_time)
    return middle


@njit(cache=True, nogil=True)
def _time_of_nearest(
    points: NDArray[np.float64],  # [P, 3]
    sensor: NDArray[np.uint8],  # [P]
    times: NDArray[np.float64],  # [P]
    centre: NDArray[np.float64],  # [3]
    lidar: int,
    otherwise: float,
) -> float:
    """Time of the LiDAR's first point nearest to a place on the ground plane."""
    least, time = np.inf, otherwise
    for i in range(len(points)):
        x = points[i, 0] - centre[0]
        square = x * x
        if square < least and sensor[i] == lidar:
            y = points[i, 1] - centre[1]
            square += y * y
            if square < least:
                least, time = square, times[i]
    return time
