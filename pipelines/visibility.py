"""Which LiDAR returns a camera can see.

The LiDAR stands above the cameras and looks over things that hide the background from them: projected alone,
such background returns land on the thing in front. A return is hidden when nearer returns surround it in the
image; a return beside an outline, or on ground that falls away from the camera, has nearer returns on one side
only and stays visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.projection import Projection, project
from pipelines.sources.base import CameraFrame, Sweep

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


_CELLS_U, _CELLS_V = (int(reach / _CELL_RAD) + 1 for reach in _WINDOW_RAD)


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A sweep as one camera sees it: what colours and depth share. Q of the sweep's points fall into the image."""

    camera: CameraFrame
    width: int
    height: int
    projection: Projection  # Q rows
    visible: NDArray[np.bool_]  # [Q] not hidden by nearer returns


def see(sweep: Sweep, camera: CameraFrame, width: int, height: int) -> Sighting:
    """Project a sweep into a camera's image and find what is visible there.

    Args:
        sweep: points of all LiDARs, world.
        camera: the camera and its pose at its own time.
        width: image width in pixels.
        height: image height in pixels.
    """
    projection = project(sweep.points, camera.cam2world, camera.K, width, height)
    return Sighting(camera, width, height, projection, visible_points(projection, camera.K, width, height))


def visible_points(projection: Projection, K: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Which projected points the camera sees, judged from the points alone.

    A point is hidden when the directions from it to the nearer returns in its neighbourhood leave no half plane
    free. Nearer means by more than 5 % of the depth plus 0.5 m; below the point, nearer than a road through the
    point would be there. The neighbourhood is 0.9 degrees wide and 3.4 high, whatever the size of the image.
    A background seen between the rings of a near surface that ends there can stay, and so can all of it where
    returns are sparser than the neighbourhood.

    Args:
        projection: all returns of the sweep in this camera, Q of them in the image.
        K: [3, 3] pixels.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        [Q] bool.
    """
    # In units of the focal length the answer does not depend on the size of the image.
    focal = np.array([K[0, 0], K[1, 1]])
    columns, rows = (int(size // (length * _CELL_RAD)) + 1 for size, length in zip((width, height), focal, strict=True))
    visible: NDArray[np.bool_] = _not_surrounded(projection.uv, focal, projection.depth, columns, rows, _ENCLOSED)
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
    uv: NDArray[np.float64],  # [Q, 2] pixels
    focal: NDArray[np.float64],  # [2] pixels
    depth: NDArray[np.float64],  # [Q] m
    columns: int,
    rows: int,
    enclosed: NDArray[np.bool_],  # [256]
) -> NDArray[np.bool_]:
    at = np.empty_like(uv)
    for i in range(len(uv)):
        at[i, 0], at[i, 1] = uv[i, 0] / focal[0], uv[i, 1] / focal[1]
    # A frame of empty cells saves every window the test for the border; one cell more for what rounding adds. A
    # column lies together in memory, because windows are higher than wide.
    nearest = np.full((columns + 2 * _CELLS_U + 1, rows + 2 * _CELLS_V + 1), -1, dtype=np.int32)
    near = np.full(nearest.shape, np.inf, dtype=np.float32)
    for i in range(len(at)):
        c, r = _cell(at[i])
        if nearest[c, r] < 0 or depth[i] < depth[nearest[c, r]]:
            nearest[c, r], near[c, r] = i, depth[i]
    corner = _corner_minimum(near)
    visible = np.ones(len(at), dtype=np.bool_)
    for i in range(len(at)):
        c, r = _cell(at[i])
        if _nearer_on_all_sides(corner, c, r, _rounded_up(_limit(depth[i]))):
            visible[i] = not _surrounded(i, c, r, at, depth, nearest, near, enclosed)
    return visible


@njit(cache=True, nogil=True)
def _cell(at: NDArray[np.float64]) -> tuple[int, int]:
    """Column and row of a place in the grid with its frame of empty cells."""
    return int(np.floor(at[0] / _CELL_RAD)) + _CELLS_U, int(np.floor(at[1] / _CELL_RAD)) + _CELLS_V


@njit(cache=True, nogil=True)
def _limit(depth: float) -> float:
    """Depth below which a return is nearer than one at `depth`, m."""
    return depth * (1.0 - NEARER_FRACTION) - NEARER_M


@njit(cache=True, nogil=True)
def _rounded_up(limit: float) -> float:
    """A little more than a limit: what is below the limit is below this also after rounding to float32."""
    return limit + abs(limit) * 1e-6


@njit(cache=True, nogil=True)
def _corner_minimum(
    near: NDArray[np.float32],  # [columns, rows]
) -> NDArray[np.float32]:
    """Least depth of the cells up to `_CELLS_U` to the left and `_CELLS_V` up, for each cell that has so many."""
    columns, rows = near.shape
    across, lowest = np.empty(rows, dtype=np.float32), np.full(near.shape, np.inf, dtype=np.float32)
    for c in range(_CELLS_U, columns):
        across[:] = near[c]
        for other in range(c - _CELLS_U, c):
            for r in range(rows):
                across[r] = min(across[r], near[other, r])
        for up in range(_CELLS_V + 1):
            for r in range(_CELLS_V, rows):
                lowest[c, r] = min(lowest[c, r], across[r - up])
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
        below = max((r - _CELLS_V) * _CELL_RAD - at[i, 1] - 1e-9, 0.0)
        highest = _rounded_up(_limit(_road(depth[i], below)))
        for c in range(column - _CELLS_U, column + _CELLS_U + 1):
            if near[c, r] < highest:
                j = nearest[c, r]
                du, dv = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1]
                if abs(du) <= _WINDOW_RAD[0] and abs(dv) <= _WINDOW_RAD[1]:
                    if depth[j] < _limit(_road(depth[i], max(dv, 0.0))):
                        octants |= 1 << _octant(du, dv)
        if enclosed[octants]:
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
