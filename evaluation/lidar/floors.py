"""Baselines of range images without any scene: what the measured points alone predict. A method should beat them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.lidar.own_car import beyond_own_car
from evaluation.lidar.path import SPINNING, SensorPath
from evaluation.lidar.truth import OWN_BODY
from flux4d.lidar import SpinningLidar
from flux4d.rasterize.spinning.project import project_spinning

NEAREST = "nearest two sweeps"
LAST = "last input sweep"
FLOORS = {
    NEAREST: "floor: z-buffer of the points of the two input sweeps nearest in time, one cell a ray; nothing moves",
    LAST: "floor: the last input sweep before the frame, ray by ray: neither sensor nor anything else moves",
}


def floor_images(path: SensorPath, frame: int, lidar: SpinningLidar) -> dict[str, NDArray[np.float32]]:
    """Ranges [H, W] m of each floor for a frame, 0 where nothing comes back; `LAST` only after an input frame."""
    inputs = path.clip.record.input_frames
    nearest = sorted(inputs, key=lambda other: (abs(other - frame), other))[:2]
    found = {NEAREST: nearest_in_cell(torch.cat([input_points(path, other) for other in nearest]), lidar)}
    if before := [other for other in inputs if other < frame]:
        truth = path.truth(before[-1], path.turn(before[-1]))
        found[LAST] = np.where(truth.known, truth.range, np.float32(0))
    return found


def input_points(path: SensorPath, frame: int) -> Tensor:
    """Points [P, 3] m of an input sweep of the spinning LiDAR, without those of its own car."""
    points = path.clip.points
    rows = np.flatnonzero((points.frame == frame) & (points.sensor == SPINNING))
    return torch.from_numpy(points.means[rows[beyond_own_car(path, rows)]])


def nearest_in_cell(means: Tensor, lidar: SpinningLidar, far: float = 250.0) -> NDArray[np.float32]:
    """Range of the nearest point [N, 3] that a ray's own cell holds, 0 where it holds none. [H, W] m

    A cell is as wide as a column and as high, or reaches half way to the next beam where that is nearer. Points stay
    where they were measured; the sensor moves.
    """
    count = len(means)
    paths = torch.stack([means, torch.zeros_like(means)], dim=1)
    quats = means.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(count, 4)
    small = torch.full((count, 3), 1e-6)
    splats = project_spinning(paths, quats, small, torch.ones(count), lidar, near=OWN_BODY, far=far, eps2d=0.05)
    x, y = splats.means2d.double().numpy().T
    rows = lidar.row_centers
    row = np.searchsorted((rows[1:] + rows[:-1]) / 2, y)
    kept = np.flatnonzero((np.abs(rows[row] - y) <= 0.5) & (x >= 0) & (x < lidar.columns))
    image = np.full((len(rows), lidar.columns), np.inf, np.float32)
    np.minimum.at(image, (row[kept], x[kept].astype(np.int64)), splats.ranges.numpy()[kept])
    return np.where(np.isfinite(image), image, np.float32(0))
