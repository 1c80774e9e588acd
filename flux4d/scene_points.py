"""Which LiDAR points of a clip are worth a Gaussian, and how far apart they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

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
    """LiDAR points no nearer than `clearance` m to any view's camera. [N]"""
    points = clip.points
    centres = np.unique(np.array([view.cam2ego0[:3, 3] for view in clip.views]).reshape(-1, 3), axis=0)
    if clearance <= 0 or not len(centres) or not len(points):
        return np.ones(len(points), bool)
    clear: NDArray[np.bool_] = np.isinf(cKDTree(centres).query(points.means, distance_upper_bound=clearance)[0])
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
