"""Which LiDAR points of a clip are worth a Gaussian, and how far apart they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flux4d.sky import inside, project
from store_schema.clip import Clip


def seen_by_views(clip: Clip, margin: float) -> NDArray[np.bool_]:
    """LiDAR points inside some view's image widened by `margin`, at any view's pose, or `in_view` themselves. [N]"""
    points = clip.points
    seen = points.in_view.copy()
    for view in clip.views:
        rest = np.flatnonzero(~seen)
        seen[rest] = inside(*project(points.means[rest], view), view, margin)
    return seen


def clear_of_cameras(clip: Clip, clearance: float) -> NDArray[np.bool_]:
    """LiDAR points no nearer than `clearance` m to any camera of their own frame. [N]

    Of their own frame only: where the cameras are later, another car may be now.
    """
    points = clip.points
    clear = np.ones(len(points), bool)
    for view in clip.views:
        rows = np.flatnonzero(points.frame == view.frame)
        away = np.linalg.norm(points.means[rows] - view.cam2ego0[:3, 3], axis=1)
        clear[rows] &= away >= clearance
    return clear


def spacing(clip: Clip, max_spread: float | None) -> NDArray[np.float32]:
    """Distances of the LiDAR points to their neighbours, m, those of lone returns cut (`SceneConfig.max_spread`). [N]

    The distance to the car is that to the ego origin of the point's frame.
    """
    points = clip.points
    if max_spread is None or not len(points):
        return points.scales
    car = clip.ego2ego0[points.frame.astype(np.int64), :3, 3]
    away = np.maximum(np.linalg.norm(points.means - car, axis=1), 1e-3)
    usual = max_spread * np.median(points.scales / away)
    cut: NDArray[np.float32] = np.minimum(points.scales, usual * away).astype(np.float32)
    return cut
