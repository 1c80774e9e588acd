"""Which LiDAR returns a camera can see.

The LiDAR stands above the cameras and looks over things that hide the background from them: projected alone,
such background returns land on the thing in front. A return is hidden when nearer returns surround it in the
image; a return beside an outline, or on ground that falls away from the camera, has nearer returns on one side
only and stays visible.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.projection import Projection

NEARER_FRACTION = 0.05
NEARER_M = 0.5
"""A return counts as nearer when it is by more than 5 % of the depth plus 0.5 m."""

_CELL_RAD = 0.003  # of each square cell that wide and high, only the nearest return hides others
_ROAD_BELOW_M = 1.5
"""Height of a camera over the road. Below a point, nearer is counted from the road that falls away under it."""

_WINDOW_RAD = (0.008, 0.03)
"""Half width and half height of the neighbourhood, in focal lengths: two steps of a spinning LiDAR across, its widest
common ring spacing up and down.

Chosen on a ray-traced street with 64 beams (tests/ray_scene.py): of the points in the image, 0.9 % stay though hidden
and 0.6 to 1.3 % go though visible; without the filter 4 to 5 % would stay.
"""


def visible_points(projection: Projection, K: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Which projected points the camera sees, judged from the points alone.

    A point is hidden when the directions from it to the nearer returns in its neighbourhood leave no half plane
    free. Nearer means by more than 5 % of the depth plus 0.5 m; below the point, nearer than a road through the
    point would be there. The neighbourhood is 0.9 degrees wide and 3.4 high, whatever the size of the image.
    A background seen between the rings of a near surface that ends there can stay, and so can all of it where
    returns are sparser than the neighbourhood.

    Args:
        projection: all returns of the sweep in this camera, P rows.
        K: [3, 3] pixels.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        [P] bool, False outside the image.
    """
    rows = np.flatnonzero(projection.inside)
    visible = np.zeros(len(projection.inside), dtype=np.bool_)
    # In units of the focal length the answer does not depend on the size of the image.
    scale = np.array([K[0, 0], K[1, 1]])
    columns, lines = (int(size // (focal * _CELL_RAD)) + 1 for size, focal in zip((width, height), scale, strict=True))
    visible[rows] = _not_surrounded(projection.uv[rows] / scale, projection.depth[rows], columns, lines, _ENCLOSED)
    return visible


def _enclosing() -> NDArray[np.bool_]:
    """For each set of octants (a bit each): no four neighbouring octants in a row are empty."""
    sets = np.arange(256)
    occupied = (sets[:, None] >> np.arange(8)) & 1  # [256, 8]
    runs = np.stack([np.roll(occupied, -shift, axis=1) for shift in range(4)]).sum(axis=0)
    enclosed: NDArray[np.bool_] = (runs > 0).all(axis=1)
    return enclosed


_ENCLOSED = _enclosing()


@njit(cache=True, nogil=True)
def _not_surrounded(
    at: NDArray[np.float64],  # [Q, 2] place in the image, in focal lengths
    depth: NDArray[np.float64],  # [Q] m
    columns: int,
    rows: int,
    enclosed: NDArray[np.bool_],  # [256]
) -> NDArray[np.bool_]:
    cell = np.floor(at / _CELL_RAD).astype(np.int64)
    nearest = _nearest_in_cells(cell, depth, columns, rows)
    cells_u, cells_v = int(_WINDOW_RAD[0] / _CELL_RAD) + 1, int(_WINDOW_RAD[1] / _CELL_RAD) + 1
    lowest = _window_minimum(nearest, depth, cells_u, cells_v)
    visible = np.ones(len(at), dtype=np.bool_)
    for i in range(len(at)):
        limit = _limit(depth[i])
        column, row = cell[i]
        if lowest[row, column] < limit:
            octants = 0
            for r in range(max(row - cells_v, 0), min(row + cells_v + 1, rows)):
                if enclosed[octants]:
                    break
                for c in range(max(column - cells_u, 0), min(column + cells_u + 1, columns)):
                    j = nearest[r, c]
                    if j >= 0 and depth[j] < limit:
                        du, dv = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1]
                        if abs(du) <= _WINDOW_RAD[0] and abs(dv) <= _WINDOW_RAD[1]:
                            road = depth[i] / (1.0 + depth[i] * max(dv, 0.0) / _ROAD_BELOW_M)
                            if depth[j] < _limit(road):
                                octants |= 1 << _octant(du, dv)
            visible[i] = not enclosed[octants]
    return visible


@njit(cache=True, nogil=True)
def _limit(depth: float) -> float:
    """Depth below which a return is nearer than one at `depth`, m."""
    return depth * (1.0 - NEARER_FRACTION) - NEARER_M


@njit(cache=True, nogil=True)
def _nearest_in_cells(
    cell: NDArray[np.int64],  # [Q, 2] column, row
    depth: NDArray[np.float64],  # [Q]
    columns: int,
    rows: int,
) -> NDArray[np.int64]:
    """Index of the nearest point of each cell [rows, columns], -1 where it is empty."""
    nearest = np.full((rows, columns), -1, dtype=np.int64)
    for i in range(len(cell)):
        column, row = cell[i]
        if nearest[row, column] < 0 or depth[i] < depth[nearest[row, column]]:
            nearest[row, column] = i
    return nearest


@njit(cache=True, nogil=True)
def _window_minimum(
    nearest: NDArray[np.int64], depth: NDArray[np.float64], cells_u: int, cells_v: int
) -> NDArray[np.float64]:
    """Least depth in the window around each cell: most points have nothing nearer there and need no closer look."""
    rows, columns = nearest.shape
    across = np.full((rows, columns), np.inf)
    for r in range(rows):
        for c in range(columns):
            if nearest[r, c] >= 0:
                for other in range(max(c - cells_u, 0), min(c + cells_u + 1, columns)):
                    across[r, other] = min(across[r, other], depth[nearest[r, c]])
    lowest = np.full((rows, columns), np.inf)
    for r in range(rows):
        for other in range(max(r - cells_v, 0), min(r + cells_v + 1, rows)):
            for c in range(columns):
                lowest[r, c] = min(lowest[r, c], across[other, c])
    return lowest


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
