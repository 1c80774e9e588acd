"""Select the LiDAR points of a clip that become Gaussians, and their distance to each other (scale)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flux4d.cameras.frustum import mark_seen
from store_schema.clip import Clip, LiftedPoints

Array: TypeAlias = np.ndarray[Any, Any]


def seen_by_views(clip: Clip, margin: float) -> NDArray[np.bool_]:
    """LiDAR points inside some view's image widened by `margin`, at any view's pose, or `in_view` themselves. [N]"""
    seen = clip.points.in_view.copy()
    mark_seen(clip.points.means, clip.views, margin, seen)
    return seen


def clear_of_cameras(clip: Clip, clearance: float) -> NDArray[np.bool_]:
    """LiDAR points no nearer than `clearance` m to any camera of their own frame. [N]

    Of their own frame only: where the cameras are later, another car may be now.
    """
    clear = np.ones(len(clip.points), bool)
    if clearance > 0.0:
        for camera in {view.name for view in clip.views}:
            centres = np.full((len(clip.ego2ego0), 3), np.nan)  # no distance in frames that it did not record
            for view in clip.views:
                if view.name == camera:
                    centres[view.frame] = view.cam2ego0[:3, 3]
            clear &= ~(_distances(clip.points, centres) < clearance)
    return clear


def spacing(clip: Clip, max_spread: float | None, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Distances of LiDAR points to their neighbours, m, those of lone returns cut (`SceneConfig.max_spread`).

    The distance to the car is that to the ego origin of the point's frame.

    Args:
        clip: The clip; all of its points say what is usual.
        max_spread: Where to cut.
        rows: The points that are wanted. [K]

    Returns:
        [K]
    """
    points = clip.points
    if max_spread is None or not len(points):
        return points.scales[rows]
    away = np.maximum(_distances(points, clip.ego2ego0[:, :3, 3]), 1e-3)
    usual = max_spread * np.median(points.scales / away)
    cut: NDArray[np.float32] = np.minimum(points.scales[rows], usual * away[rows]).astype(np.float32)
    return cut


def _distances(points: LiftedPoints, origins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of points to the origin [F, 3] of their frame, m; what `np.linalg.norm` says, to the bit. [N]"""
    away = np.empty(len(points))
    if len(points):
        if points.frame.min() < 0 or points.frame.max() >= len(origins):
            raise ValueError(
                f"points of frames {points.frame.min()} to {points.frame.max()} in a clip of {len(origins)} frames"
            )
        _distance_rows(np.ascontiguousarray(points.means), points.frame, np.ascontiguousarray(origins), away)
    return away


@njit(nogil=True, cache=True)
def _distance_rows(means: Array, frame: Array, origins: Array, away: Array) -> None:
    for i in range(len(means)):
        origin = origins[frame[i]]
        x, y, z = means[i, 0] - origin[0], means[i, 1] - origin[1], means[i, 2] - origin[2]
        away[i] = np.sqrt(x * x + y * y + z * z)
