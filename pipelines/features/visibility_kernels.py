"""The rules of `pipelines.features.visibility`, compiled.

Kernels, the functions they call and the constants they use stand in one file, the only one whose changes numba's
cache sees.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEARER_FRACTION = 0.05
NEARER_M = 0.5
"""A return counts as nearer when it is by more than 5 % of the depth plus 0.5 m."""

CELL_RAD = 0.003
"""Width and height of a cell of the image, in focal lengths; of each cell, only the nearest return hides others."""
_ROAD_BELOW_M = 1.5
"""Height of a camera over the road. Below a point, nearer is counted from the road that falls away under it."""

_WINDOW_RAD = (0.008, 0.03)
"""Half width and half height of the neighbourhood, in focal lengths: two steps of a spinning LiDAR across, its widest
common ring spacing up and down.

On a ray-traced street with 64 beams (`tests.support.scenes`): of the points in the image, 0.9 % stay though hidden
and 0.6 to 1.3 % go though visible; without the filter 4 to 5 % would stay.
"""
_CELLS_U, _CELLS_V = (int(reach / CELL_RAD) + 1 for reach in _WINDOW_RAD)

_OUTLINE_RAD = 0.005
"""Distance in the image within which a nearer return makes a point's colour doubtful, in focal lengths.

Measured on still scenery of log 002 against the colours the same places have in other frames, seen far from every
outline. A colour is off by more than 30 of 255 for 33 % of the points 1 to 2 mrad from an outline, for 21 % at 4 to 5
and evenly for 16 to 19 % from 5 to 12 mrad; the front and the wide cameras agree in the angle, not in pixels. Of the
points within 5 mrad, 25 % are off with the pixel they fall in, 17 % with the colour of the nearest clear point.
"""
_CELLS_OUTLINE = int(_OUTLINE_RAD / CELL_RAD) + 1


def _enclosing() -> NDArray[np.bool_]:
    """For each set of octants (a bit each): no four neighbouring octants in a row are empty."""
    sets = np.arange(256)
    occupied = (sets[:, None] >> np.arange(8)) & 1  # [256, 8]
    runs = np.stack([np.roll(occupied, -shift, axis=1) for shift in range(4)]).sum(axis=0)
    enclosed: NDArray[np.bool_] = (runs > 0).all(axis=1)
    return enclosed


ENCLOSED = _enclosing()


@njit(cache=True, nogil=True)
def judge(
    uv: NDArray[np.float64],  # [Q, 2] pixels
    focal: NDArray[np.float64],  # [2] pixels
    depth: NDArray[np.float64],  # [Q] m
    columns: int,
    rows: int,
    enclosed: NDArray[np.bool_],  # [256] sets of octants that enclose
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points are visible [Q] and which are clear [Q]; the image has that many cells across and down."""
    # Directions in focal lengths: the rules are angles, whatever the size of the image.
    at = np.empty_like(uv)
    for i in range(len(uv)):
        at[i, 0], at[i, 1] = uv[i, 0] / focal[0], uv[i, 1] / focal[1]
    # A frame of empty cells saves every window the test for the border; one cell more for what rounding adds. A
    # column lies together in memory, because windows are higher than wide.
    nearest = np.full((columns + 2 * _CELLS_U + 1, rows + 2 * _CELLS_V + 1), -1, dtype=np.int32)
    near = np.full(nearest.shape, np.inf, dtype=np.float32)
    # The nearest return of each cell.
    for i in range(len(at)):
        c, r = _cell(at[i])
        if nearest[c, r] < 0 or depth[i] < depth[nearest[c, r]]:
            nearest[c, r], near[c, r] = i, depth[i]
    # Least depths of rows and corners of the window, once for all points: most are settled by them.
    across = _row_minimum(near)
    corner = _corner_minimum(across)
    # Each point: hidden when nearer returns surround it; doubtful in colour when one is close beside it.
    visible, clear = np.ones(len(at), dtype=np.bool_), np.ones(len(at), dtype=np.bool_)
    for i in range(len(at)):
        c, r = _cell(at[i])
        limit = _rounded_up(_limit(depth[i]))
        if _nearer_on_all_sides(corner, c, r, limit):
            visible[i] = not _surrounded(i, c, r, at, depth, nearest, near, enclosed)
        if not visible[i]:
            clear[i] = False
        elif _nearer_within(across, c, r, limit):
            clear[i] = not _at_outline(i, c, r, at, depth, nearest, near)
    return visible, clear


@njit(cache=True, nogil=True)
def _cell(at: NDArray[np.float64]) -> tuple[int, int]:
    """Column and row of a place in the grid with its frame of empty cells."""
    return int(np.floor(at[0] / CELL_RAD)) + _CELLS_U, int(np.floor(at[1] / CELL_RAD)) + _CELLS_V


@njit(cache=True, nogil=True)
def _limit(depth: float) -> float:
    """Depth below which a return is nearer than one at `depth`, m."""
    return depth * (1.0 - NEARER_FRACTION) - NEARER_M


@njit(cache=True, nogil=True)
def _rounded_up(limit: float) -> float:
    """A little more than a limit: what is below the limit is below this also after rounding to float32."""
    return limit + abs(limit) * 1e-6


@njit(cache=True, nogil=True)
def _row_minimum(
    near: NDArray[np.float32],  # [columns, rows]
) -> NDArray[np.float32]:
    """Least depth of a cell and the `_CELLS_U` to the left of it, for each cell that has so many."""
    columns, rows = near.shape
    across = np.full(near.shape, np.inf, dtype=np.float32)
    for c in range(_CELLS_U, columns):
        for other in range(c - _CELLS_U, c + 1):
            for r in range(rows):
                across[c, r] = min(across[c, r], near[other, r])
    return across


@njit(cache=True, nogil=True)
def _corner_minimum(
    across: NDArray[np.float32],  # [columns, rows]
) -> NDArray[np.float32]:
    """Least depth of the cells up to `_CELLS_U` to the left and `_CELLS_V` up, for each cell that has so many."""
    columns, rows = across.shape
    lowest = np.full(across.shape, np.inf, dtype=np.float32)
    for c in range(_CELLS_U, columns):
        for up in range(_CELLS_V + 1):
            for r in range(_CELLS_V, rows):
                lowest[c, r] = min(lowest[c, r], across[c, r - up])
    return lowest


@njit(cache=True, nogil=True)
def _nearer_on_all_sides(corner: NDArray[np.float32], c: int, r: int, limit: float) -> bool:
    """Whether each half of the window can hold nearer returns; most points have a free side and need no closer look."""
    left_up, right_up = corner[c, r] < limit, corner[c + _CELLS_U, r] < limit
    left_down, right_down = corner[c, r + _CELLS_V] < limit, corner[c + _CELLS_U, r + _CELLS_V] < limit
    return bool((left_up and right_down) or (right_up and left_down))


@njit(cache=True, nogil=True)
def _surrounded(
    i: int,
    column: int,
    row: int,
    at: NDArray[np.float64],  # [Q, 2]
    depth: NDArray[np.float64],  # [Q]
    nearest: NDArray[np.int32],  # [columns, rows] index of the nearest point of each cell
    near: NDArray[np.float32],  # [columns, rows] its depth, inf where there is none
    enclosed: NDArray[np.bool_],  # [256]
) -> bool:
    """Whether nearer returns lie around point i, its own row first, then in turn one below and one above."""
    octants = 0
    for step in range(2 * _CELLS_V + 1):
        r = row + (step + 1) // 2 if step % 2 else row - step // 2
        # No cell of this row lies higher than `below` under the point: the loosest limit of the row.
        below = max((r - _CELLS_V) * CELL_RAD - at[i, 1] - 1e-9, 0.0)
        highest = _rounded_up(_limit(_road(depth[i], below)))
        for c in range(column - _CELLS_U, column + _CELLS_U + 1):
            if near[c, r] < highest:
                j = nearest[c, r]
                du, dv = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1]
                if abs(du) <= _WINDOW_RAD[0] and abs(dv) <= _WINDOW_RAD[1]:
                    # Below the point a road through it comes nearer: only what is nearer than that counts.
                    if depth[j] < _limit(_road(depth[i], max(dv, 0.0))):
                        octants |= 1 << _octant(du, dv)
        if enclosed[octants]:
            return True
    return False


@njit(cache=True, nogil=True)
def _nearer_within(across: NDArray[np.float32], c: int, r: int, limit: float) -> bool:
    """Whether the cells around can hold a nearer return as near as an outline."""
    for k in range(r - _CELLS_OUTLINE, r + _CELLS_OUTLINE + 1):
        if across[c, k] < limit or across[c + _CELLS_U, k] < limit:
            return True
    return False


@njit(cache=True, nogil=True)
def _at_outline(
    i: int,
    column: int,
    row: int,
    at: NDArray[np.float64],  # [Q, 2]
    depth: NDArray[np.float64],  # [Q]
    nearest: NDArray[np.int32],  # [columns, rows]
    near: NDArray[np.float32],  # [columns, rows]
) -> bool:
    """Whether a nearer return lies within `_OUTLINE_RAD` of point i."""
    highest = _rounded_up(_limit(depth[i]))
    for c in range(column - _CELLS_OUTLINE, column + _CELLS_OUTLINE + 1):
        for r in range(row - _CELLS_OUTLINE, row + _CELLS_OUTLINE + 1):
            if near[c, r] < highest:
                j = nearest[c, r]
                du, dv = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1]
                if du * du + dv * dv <= _OUTLINE_RAD * _OUTLINE_RAD:
                    if depth[j] < _limit(_road(depth[i], max(dv, 0.0))):
                        return True
    return False


@njit(cache=True, nogil=True)
def _road(depth: float, below: float) -> float:
    """Depth of a road through a point at `depth`, `below` (in focal lengths) under it in the image, m."""
    return depth / (1.0 + depth * below / _ROAD_BELOW_M)


@njit(cache=True, nogil=True)
def _octant(du: float, dv: float) -> int:
    """Number of the octant of a direction, counted around the circle."""
    if dv >= 0:
        if du > 0:
            return 1 if dv > du else 0
        return 2 if dv > -du else 3
    if du < 0:
        return 5 if -dv > -du else 4
    return 6 if -dv > du else 7
