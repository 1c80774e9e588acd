"""Hand-over of velocities: to what no cluster could judge, to wheels and feet, and to the forward LiDAR."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.motion.config import MotionConfig
from pipelines.motion.maps import label_map, look_up

_kernel = njit(cache=True, nogil=True)


@_kernel
def mean_of_votes(
    votes: NDArray[np.float64],  # [H, Q, 2] m/s
    cast: NDArray[np.bool_],  # [H, Q]
    spread: float,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Points voted for by velocities that differ by no more than `spread` (m/s) [Q], and their mean [Q, 2]."""
    hops, count = cast.shape
    known, mean = np.zeros(count, np.bool_), np.zeros((count, 2))
    for i in range(count):
        n, x, y, square = 0, 0.0, 0.0, 0.0
        for h in range(hops):
            if cast[h, i]:
                n += 1
                x += votes[h, i, 0]
                y += votes[h, i, 1]
                square += votes[h, i, 0] * votes[h, i, 0] + votes[h, i, 1] * votes[h, i, 1]
        if n:
            x, y = x / n, y / n
            known[i] = square / n - x * x - y * y < spread * spread
            mean[i, 0], mean[i, 1] = x, y
    return known, mean


@_kernel
def footprints(
    points: NDArray[np.float64],  # [M, 3] m
    label: NDArray[np.int32],  # [M]
    velocity: NDArray[np.float64],  # [M, 2] m/s
    clusters: int,
) -> NDArray[np.float64]:
    """Box of each cluster along its velocity, [C, 6]: direction x and y, least and most along it and across it."""
    box = np.zeros((clusters, 6))
    box[:, 2] = box[:, 4] = np.inf
    box[:, 3] = box[:, 5] = -np.inf
    for i in range(len(points)):
        one = box[label[i]]
        if one[0] == 0.0 and one[1] == 0.0:
            speed = np.sqrt(velocity[i, 0] * velocity[i, 0] + velocity[i, 1] * velocity[i, 1])
            one[0], one[1] = velocity[i, 0] / speed, velocity[i, 1] / speed
        along = points[i, 0] * one[0] + points[i, 1] * one[1]
        across = points[i, 1] * one[0] - points[i, 0] * one[1]
        one[2], one[3] = min(one[2], along), max(one[3], along)
        one[4], one[5] = min(one[4], across), max(one[5], across)
    return box


@_kernel
def inside_footprint(
    points: NDArray[np.float64],  # [Q, 3] m
    label: NDArray[np.int32],  # [Q] the cluster to test, -1 none
    box: NDArray[np.float64],  # [C, 6]
    margin: float,
) -> NDArray[np.bool_]:
    """Which points lie in the box of their cluster, seen from above."""
    out = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        if label[i] < 0:
            continue
        one = box[label[i]]
        along = points[i, 0] * one[0] + points[i, 1] * one[1]
        across = points[i, 1] * one[0] - points[i, 0] * one[1]
        out[i] = one[2] - margin <= along <= one[3] + margin and one[4] - margin <= across <= one[5] + margin
    return out


def claimed_low(
    movers: NDArray[np.float64],  # [M, 3] m
    label: NDArray[np.int32],  # [M] their clusters
    velocity: NDArray[np.float64],  # [M, 2] m/s
    low: NDArray[np.float64],  # [Q, 3] m, returns near the ground
    height: NDArray[np.float32],  # [Q] m
    corner: NDArray[np.float64],
    extent: float,
    config: MotionConfig,
) -> NDArray[np.int32]:
    """Row of the mover that each low return is a wheel or a foot of [Q], -1 none.

    What is well above the road must be near a return of the mover; at the height of the road, where most returns are
    road, it must be under the mover too.
    """
    rows = np.arange(len(movers), dtype=np.int32)
    out = np.full(len(low), -1, np.int32)
    box = footprints(movers, label, velocity, int(label.max()) + 1 if len(label) else 0)
    for cell, mine in (
        (config.foot_cell, height <= config.foot_height),
        (config.wheel_cell, height > config.foot_height),
    ):
        grid = label_map(movers, rows, corner, cell, int(extent / cell))
        out[mine] = look_up(low[mine], corner, cell, grid)
    flat = (height <= config.foot_height) & (out >= 0)
    under = inside_footprint(
        low, np.where(flat, np.append(label, -1)[out], -1).astype(np.int32), box, config.foot_margin
    )
    out[flat & ~under] = -1
    return out


def claimed_forward(
    movers: NDArray[np.float64],  # [M, 3] m
    velocity: NDArray[np.float64],  # [M, 2] m/s
    times: NDArray[np.float64],  # [M] s
    forward: NDArray[np.float64],  # [Q, 3] m, returns of the forward LiDAR
    forward_times: NDArray[np.float64],  # [Q] s
    corner: NDArray[np.float64],
    extent: float,
    config: MotionConfig,
) -> NDArray[np.int32]:
    """Row of the spinning LiDAR's mover on which each forward return lies [Q], -1 none.

    The forward LiDAR sees a thing up to 0.1 s earlier or later: movers are carried to where they are at its time.
    """
    out = np.full(len(forward), -1, np.int32)
    rows = np.arange(len(movers), dtype=np.int32)
    slices = np.floor(forward_times / config.forward_slice).astype(np.int64)
    cell = config.forward_cell
    for number in np.unique(slices):
        mine = np.flatnonzero(slices == number)
        when = (number + 0.5) * config.forward_slice
        carried = movers[:, :2] + velocity * (when - times)[:, None]
        out[mine] = look_up(forward[mine], corner, cell, label_map(carried, rows, corner, cell, int(extent / cell)))
    return out
