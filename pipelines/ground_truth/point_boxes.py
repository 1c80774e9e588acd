"""Assign LiDAR points to annotated boxes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.geometry.rigid import cos_sin
from pipelines.sources.base import Cuboids
from store_schema.protocol import P0_RULES, FlowRules

_CELL_M = 1.0  # of the grid on the ground that cuts down the boxes a point is tested against
_MAX_CELLS = 512  # of that grid in a row; boxes spread over more metres get larger cells


def assign_points(
    points: NDArray[np.float64],  # [P, 3] m, world
    sensor: NDArray[np.uint8],  # [P] LiDAR of the point
    cuboids: Cuboids,
    rules: FlowRules = P0_RULES,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The box each point lies in.

    Returns:
        Row of the box that `rules` gives the point to (-1 none) [P], and whether the point lies only in boxes that
        `rules` keeps from it, those of the other LiDAR [P]. A point on a face is inside.
    """
    if not len(cuboids.track):
        return np.full(len(points), -1, dtype=np.int32), np.zeros(len(points), dtype=np.bool_)
    order = _precedence(cuboids, rules)
    position, half = cuboids.position[order], _grown(cuboids.size[order], rules) / 2
    box_sensor = np.where(rules.lidars == "any", -1, cuboids.sensor[order]).astype(np.int64)
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
        points, sensor, held, members, origin, cell, position, half, cos, sin, box_sensor, order
    )
    return cuboid, other_only


def _precedence(cuboids: Cuboids, rules: FlowRules) -> NDArray[np.int64]:
    """Rows of the boxes [M] such that the first one that holds a point wins it."""
    if rules.overlap == "last":
        return np.arange(len(cuboids.track), dtype=np.int64)[::-1].copy()
    volume = cuboids.size[:, 0] * cuboids.size[:, 1] * cuboids.size[:, 2]
    return np.argsort(volume, kind="stable")


def _grown(size: NDArray[np.float64], rules: FlowRules) -> NDArray[np.float64]:
    """Sizes [M, 3] of the boxes that points are tested against, m."""
    grown: NDArray[np.float64] = size + np.array([rules.expand_m, rules.expand_m, 0.0])
    return grown


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
    position: NDArray[np.float64],  # [M, 3] the box that wins first
    half: NDArray[np.float64],  # [M, 3]
    cos: NDArray[np.float64],  # [M]
    sin: NDArray[np.float64],  # [M]
    box_sensor: NDArray[np.int64],  # [M] -1 for boxes of every LiDAR
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
