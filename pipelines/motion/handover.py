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
    """Which points were voted for by velocities that differ by no more than `spread` (m/s) [Q], and their mean [Q, 2]."""
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


def claimed_low(
    movers: NDArray[np.float64],  # [M, 3] m
    low: NDArray[np.float64],  # [Q, 3] m, returns near the ground
    height: NDArray[np.float32],  # [Q] m
    corner: NDArray[np.float64],
    extent: float,
    config: MotionConfig,
) -> NDArray[np.int32]:
    """Row of the mover that each low return is a wheel or a foot of [Q], -1 none."""
    out = np.full(len(low), -1, np.int32)
    rows = np.arange(len(movers), dtype=np.int32)
    for cell, mine in (
        (config.foot_cell, height <= config.foot_height),
        (config.wheel_cell, height > config.foot_height),
    ):
        grid = label_map(movers, rows, corner, cell, int(extent / cell))
        out[mine] = look_up(low[mine], corner, cell, grid)
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
