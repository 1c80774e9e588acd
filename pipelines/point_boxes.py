"""Which annotated box each LiDAR point lies in."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.sources.base import Cuboids

_CELL_M = 1.0  # of the grid on the ground that cuts down the boxes a point is tested against
_MAX_CELLS = 512  # of that grid in a row; boxes spread over more metres get larger cells


def assign_points(
    points: NDArray[np.float64],  # [P, 3] m, world
    sensor: NDArray[np.uint8],  # [P] LiDAR of the point
    cuboids: Cuboids,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The box each point lies in.

    Returns:
        Row of the smallest box of the point's own LiDAR (-1 none) [P], and whether the point lies in boxes of
        the other LiDAR only [P]. A point on a face is inside.
    """
    if not len(cuboids.track):
        return np.full(len(points), -1, dtype=np.int32), np.zeros(len(points), dtype=np.bool_)
    volume = cuboids.size[:, 0] * cuboids.size[:, 1] * cuboids.size[:, 2]
    order = np.argsort(volume, kind="stable")  # so that the first hit is the answer
    position, half, box_sensor = cuboids.position[order], cuboids.size[order] / 2, cuboids.sensor[order]
    cos, sin = cos_sin(cuboids.yaw[order])
    # A micrometre more than the box reaches: the test for it rounds.
    reach_x = np.abs(cos) * half[:, 0] + np.abs(sin) * half[:, 1] + 1e-6
    reach_y = np.abs(sin) * half[:, 0] + np.abs(cos) * half[:, 1] + 1e-6
    reach = np.stack([reach_x, reach_y], axis=1)
    origin = (position[:, :2] - reach).min(axis=0)
    cell = max(_CELL_M, float(((position[:, :2] + reach).max(axis=0) - origin).max()) / _MAX_CELLS)
    first, last = (np.floor((position[:, :2] + way * reach - origin) / cell).astype(np.int64) for way in (-1, 1))
    held, members = _boxes_of_cells(first, last, last.max(axis=0) + 1)
    cuboid, other_only = _first_box(
        points, sensor, held, members, origin, cell, position, half, cos, sin, box_sensor.astype(np.int64), order
    )
    return cuboid, other_only


def cos_sin(angle: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of angles in radians, with the same bits on every CPU."""
    # Their last bits differ between CPUs; 12 decimals (a picometre on a box) do not.
    return np.cos(angle, dtype=np.float64).round(12), np.sin(angle, dtype=np.float64).round(12)


@njit(cache=True, nogil=True)
def _boxes_of_cells(
    first: NDArray[np.int64],  # [M, 2] first cell of each box along x and y
    last: NDArray[np.int64],  # [M, 2]
    shape: NDArray[np.int64],  # [2] cells along x and y
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """``members[held[x, y, 0]:held[x, y, 1]]`` are the boxes that reach into cell (x, y), ascending."""
    held = np.zeros((shape[0], shape[1], 2), dtype=np.int64)
    for m in range(len(first)):
        held[first[m, 0] : last[m, 0] + 1, first[m, 1] : last[m, 1] + 1, 1] += 1
    total = 0
    for x in range(shape[0]):
        for y in range(shape[1]):
            count = held[x, y, 1]
            held[x, y] = total
            total += count
    members = np.empty(total, dtype=np.int32)
    for m in range(len(first)):
        for x in range(first[m, 0], last[m, 0] + 1):
            for y in range(first[m, 1], last[m, 1] + 1):
                members[held[x, y, 1]] = m
                held[x, y, 1] += 1
    return held, members


@njit(cache=True, nogil=True)
def _first_box(
    points: NDArray[np.float64],  # [P, 3]
    sensor: NDArray[np.uint8],  # [P]
    held: NDArray[np.int64],  # [X, Y, 2] of `_boxes_of_cells`
    members: NDArray[np.int32],
    origin: NDArray[np.float64],  # [2] of the cells
    cell: float,
    position: NDArray[np.float64],  # [M, 3] smallest box first
    half: NDArray[np.float64],  # [M, 3]
    cos: NDArray[np.float64],  # [M]
    sin: NDArray[np.float64],  # [M]
    box_sensor: NDArray[np.int64],  # [M]
    order: NDArray[np.int64],  # [M] row of each box
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    hit = np.full(len(points), -1, dtype=np.int32)
    other_only = np.zeros(len(points), dtype=np.bool_)
    columns, lines = held.shape[:2]
    for i in range(len(points)):
        x, y = np.floor((points[i, 0] - origin[0]) / cell), np.floor((points[i, 1] - origin[1]) / cell)
        if not (0 <= x < columns and 0 <= y < lines):
            continue
        for m in members[held[int(x), int(y), 0] : held[int(x), int(y), 1]]:
            dx, dy = points[i, 0] - position[m, 0], points[i, 1] - position[m, 1]
            if (
                abs(points[i, 2] - position[m, 2]) <= half[m, 2]
                and abs(cos[m] * dx + sin[m] * dy) <= half[m, 0]
                and abs(cos[m] * dy - sin[m] * dx) <= half[m, 1]
            ):
                if box_sensor[m] == -1 or box_sensor[m] == sensor[i]:
                    hit[i] = order[m]
                    other_only[i] = False
                    break
                other_only[i] = True
    return hit, other_only
