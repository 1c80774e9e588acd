"""Nearest neighbour of single points in a cloud, exact, for few queries (a k-d tree would not pay).

The cloud is sorted along a Morton curve; runs of `_FAN` points are leaves, runs of `_FAN` leaves nodes and so on, each
with its bounding box: no pointers, and a sort is most of the build. Points that crowd one cell of the curve, for
instance because a single far point stretches it, are sorted along a curve of their own. Boxes are compared with
distances in the arithmetic of the distances themselves, and rounding is monotonic, so what is passed over holds nothing
nearer.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array: TypeAlias = np.ndarray[Any, Any]

_FAN = 8
_ROW_BITS = 24
_AXIS_BITS = 13
_CROWD = 256
"""More points than this in one cell of the curve are sorted again: unsorted, each of their leaves spans the cell."""


def nearest(
    asked: NDArray[np.float32],  # [M, 3]
    cloud: NDArray[np.float32],  # [N, 3]
) -> NDArray[np.int64]:
    """Row in the cloud of the point nearest to each asked one. [M]

    Of several at exactly the same distance it is the one of the lowest row, so the answer is the same whatever the
    search does; distances are compared as squares in float64.

    Args:
        asked: Finite positions.
        cloud: At least one finite position.

    Raises:
        ValueError: an empty cloud, one of more than 16 million points, or a position that is not finite.
    """
    limit = 1 << _ROW_BITS
    if not (0 < len(cloud) < limit and len(asked) < limit):
        raise ValueError(f"nearest of {len(cloud)} points to {len(asked)} others: use 1 to {limit - 1} and less")
    if not (np.isfinite(asked).all() and np.isfinite(cloud).all()):
        raise ValueError("positions must be finite to have a nearest one")
    asked, cloud = np.ascontiguousarray(asked), np.ascontiguousarray(cloud)
    found = np.empty(len(asked), np.int64)
    if len(asked):
        rows, turns = _along_curve(cloud), _along_curve(asked)  # each asked point is near the one before
        points, boxes, starts = _build(cloud, rows)
        _query(asked, turns, points, rows, boxes, starts, found)
    return found


def _along_curve(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows in the order of the Morton curve, equal places by row. [N]"""
    keys = np.sort(_morton(points))
    rows: NDArray[np.int64] = keys & ((1 << _ROW_BITS) - 1)
    edges = np.r_[np.flatnonzero(np.diff(keys >> _ROW_BITS, prepend=-1)), len(keys)]
    for cell in np.flatnonzero(np.diff(edges) > _CROWD):
        crowd = rows[edges[cell] : edges[cell + 1]]
        inside = points[crowd]
        if (inside != inside[0]).any():  # else all in one place
            crowd[:] = crowd[_along_curve(inside)]
    return rows


@njit(nogil=True, cache=True)
def _morton(cloud: Array) -> Array:
    """Place on the curve, then row, in one integer each. [N]"""
    low, high = np.empty(3), np.empty(3)
    for axis in range(3):
        low[axis] = high[axis] = cloud[0, axis]
    for i in range(len(cloud)):
        for axis in range(3):
            low[axis], high[axis] = min(low[axis], cloud[i, axis]), max(high[axis], cloud[i, axis])
    extent = max(high[0] - low[0], high[1] - low[1], high[2] - low[2])
    cells = ((1 << _AXIS_BITS) - 1) / extent if extent > 0.0 else 0.0
    keys = np.empty(len(cloud), np.int64)
    for i in range(len(cloud)):
        key = np.int64(0)
        for axis in range(3):
            spread = np.int64((cloud[i, axis] - low[axis]) * cells)
            # Two zero bits after each bit: 13 bits to 39.
            spread = (spread | spread << 16) & 0x0000FF0000FF
            spread = (spread | spread << 8) & 0x00F00F00F00F
            spread = (spread | spread << 4) & 0x0C30C30C30C3
            spread = (spread | spread << 2) & 0x249249249249
            key |= spread << axis
        keys[i] = key << _ROW_BITS | i
    return keys


@njit(nogil=True, cache=True)
def _build(cloud: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Points in order [N, 3], boxes (least, greatest) [B, 6], first box of each level, leaves first [height + 1]."""
    points = np.empty_like(cloud)
    for i in range(len(rows)):
        for axis in range(3):
            points[i, axis] = cloud[rows[i], axis]
    # How many boxes each level has, and where it begins.
    starts = np.zeros(16, np.int64)
    height, count = 0, len(rows)
    while height == 0 or count > 1:
        count = (count + _FAN - 1) // _FAN
        starts[height + 1] = starts[height] + count
        height += 1
    boxes = np.empty((starts[height], 6), cloud.dtype)
    boxes[:, :3], boxes[:, 3:] = np.inf, -np.inf
    # Boxes of the leaves from their points, then of each level from the one below.
    for i in range(len(points)):
        for axis in range(3):
            boxes[i // _FAN, axis] = min(boxes[i // _FAN, axis], points[i, axis])
            boxes[i // _FAN, 3 + axis] = max(boxes[i // _FAN, 3 + axis], points[i, axis])
    for level in range(1, height):
        for child in range(starts[level] - starts[level - 1]):
            at, under = starts[level] + child // _FAN, starts[level - 1] + child
            for axis in range(3):
                boxes[at, axis] = min(boxes[at, axis], boxes[under, axis])
                boxes[at, 3 + axis] = max(boxes[at, 3 + axis], boxes[under, 3 + axis])
    return points, boxes, starts[: height + 1]


@njit(nogil=True, cache=True)
def _query(
    asked: Array,  # [M, 3]
    turns: Array,  # [M] the order to ask in
    points: Array,  # this and the next three as of `_build`
    rows: Array,
    boxes: Array,
    starts: Array,
    found: Array,  # [M] written to
) -> None:
    height = len(starts) - 1
    levels, nodes = np.empty(_FAN * height + 1, np.int64), np.empty(_FAN * height + 1, np.int64)
    gaps = np.empty(_FAN * height + 1)
    best = 0  # what was nearest to the point asked before is a good guess
    for i in turns:
        # Depth first from the root, nearest child first, past every box that is farther than the best so far.
        x, y, z = np.float64(asked[i, 0]), np.float64(asked[i, 1]), np.float64(asked[i, 2])
        least = _squared(x - points[best, 0], y - points[best, 1], z - points[best, 2])
        levels[0], nodes[0], gaps[0], top = height - 1, 0, 0.0, 1
        while top > 0:
            top -= 1
            level, node = levels[top], nodes[top]
            if gaps[top] > least:
                continue
            if level == 0:
                for j in range(_FAN * node, min(_FAN * node + _FAN, len(points))):
                    away = _squared(x - points[j, 0], y - points[j, 1], z - points[j, 2])
                    if away < least or (away == least and rows[j] < rows[best]):
                        least, best = away, j
                continue
            bottom = top
            for child in range(_FAN * node, min(_FAN * node + _FAN, starts[level] - starts[level - 1])):
                gap = _gap(x, y, z, boxes, starts[level - 1] + child)
                if gap <= least:
                    at = top  # the nearest child on top
                    while at > bottom and gaps[at - 1] < gap:
                        levels[at], nodes[at], gaps[at] = levels[at - 1], nodes[at - 1], gaps[at - 1]
                        at -= 1
                    levels[at], nodes[at], gaps[at] = level - 1, child, gap
                    top += 1
        found[i] = rows[best]


@njit(nogil=True, cache=True, inline="always")
def _squared(dx: float, dy: float, dz: float) -> float:
    return dx * dx + dy * dy + dz * dz


@njit(nogil=True, cache=True, inline="always")
def _gap(x: float, y: float, z: float, boxes: Array, at: int) -> float:
    """Squared distance of a point from a box."""
    gap: float = _squared(
        max(max(boxes[at, 0] - x, x - boxes[at, 3]), 0.0),
        max(max(boxes[at, 1] - y, y - boxes[at, 4]), 0.0),
        max(max(boxes[at, 2] - z, z - boxes[at, 5]), 0.0),
    )
    return gap
