"""Remove returns of the car that carries the sensor from the input sweeps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.lidar.path import SensorPath
from evaluation.lidar.truth import OWN_BODY, in_sensor_axes
from flux4d.gaussians import Gaussians


def beyond_own_car(
    path: SensorPath,
    rows: NDArray[np.integer],  # [N]
) -> NDArray[np.bool_]:
    """Which rows of the clip's points are at least `OWN_BODY` m from the spinning LiDAR at their own times. [N]"""
    points = path.clip.points
    beyond = np.ones(len(rows), bool)
    for frame in np.unique(points.frame[rows]).tolist():
        mine = np.flatnonzero(points.frame[rows] == frame)
        means, times = points.means[rows[mine]].astype(np.float64), points.times[rows[mine]].astype(np.float64)
        beyond[mine] = np.linalg.norm(in_sensor_axes(means, times, path.turn(frame)), axis=1) >= OWN_BODY
    return beyond


def without_own_car(scene: Gaussians, path: SensorPath) -> Gaussians:
    """The Gaussians of a clip without those made from points on the own car; such as no point made stay."""
    source = scene.source.cpu().numpy()
    keep = np.ones(len(scene), bool)
    lifted = np.flatnonzero(source >= 0)
    keep[lifted] = beyond_own_car(path, source[lifted])
    return scene.select(torch.from_numpy(np.flatnonzero(keep)).to(scene.source.device))
