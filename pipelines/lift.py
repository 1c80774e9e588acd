"""Lift LiDAR returns to Gaussians: a scale from their neighbours, a colour from a camera that sees them.

Paper section 3.1 (lifting): the scale is the mean distance to the 3 nearest neighbours, the colour that of the
pixel the point projects to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipelines.projection import project
from pipelines.sources.base import CameraFrame, Sweep
from pipelines.visibility import visible_points

GREY = 127
"""Value of the three channels of a point that no camera sees."""


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """Colour of each point of a sweep; P rows."""

    rgb: NDArray[np.uint8]  # [P, 3]; 127 where camera is -1
    camera: NDArray[np.int8]  # [P] index of the camera the colour is from, -1 none


def knn_scale(points: NDArray[np.float64], k: int = 3) -> NDArray[np.float64]:
    """Mean distance of each point to its k nearest neighbours of the same sweep.

    Neighbours are other positions: returns that share a position to the last bit count as one, so that no scale
    is 0.

    Args:
        points: [P, 3] m.
        k: number of neighbours.

    Returns:
        [P] m.

    Raises:
        ValueError: a point is not finite, or there are fewer than k + 1 different positions.
    """
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"points must be finite and of shape [P, 3], got shape {list(points.shape)}")
    if k < 1 or len(points) <= k:
        raise ValueError(f"the {k} nearest neighbours need at least {k + 1} points (k >= 1), got {len(points)}")
    distance = _sorted_distances(points, k)
    if (distance[:, 1] > 0).all():
        return _mean(distance[:, 1:])
    positions, inverse = np.unique(points, axis=0, return_inverse=True)
    if len(positions) <= k:
        raise ValueError(f"the {k} nearest neighbours need {k + 1} different positions, got {len(positions)}")
    return _mean(_sorted_distances(positions, k)[:, 1:])[inverse.reshape(-1)]


def colour_points(sweep: Sweep, frames: Sequence[CameraFrame], images: Sequence[NDArray[np.uint8]]) -> Colours:
    """Colour the points of a sweep from the cameras that see them.

    A camera sees a point that projects into its image and is not behind nearer returns (`pipelines.visibility`).
    Among those cameras the one whose stamp is nearest to the point's own time wins; then the one in which the point
    is farther from the image border, relative to the image's size; then the first. Nothing is moved to the
    camera's time: that would need the motion the network is to find. What moves is therefore off by its speed
    times the time between, which the rule makes as small as the rig allows. The colour is that of the pixel
    the point falls in, without interpolation across outlines.

    Args:
        sweep: P points.
        frames: cameras of the same frame.
        images: [H, W, 3] uint8 a camera, in the same order.

    Raises:
        ValueError: not one image a camera, or an image that is no [H, W, 3] uint8.
    """
    count = len(sweep.points)
    if len(frames) != len(images):
        raise ValueError(f"{len(frames)} cameras but {len(images)} images")
    rgb = np.full((count, 3), GREY, dtype=np.uint8)
    camera = np.full(count, -1, dtype=np.int8)
    best_gap, best_border = np.full(count, np.inf), np.full(count, -np.inf)
    for index, (frame, image) in enumerate(zip(frames, images, strict=True)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"{frame.camera}: an image is [H, W, 3] uint8, got {list(image.shape)} {image.dtype}")
        height, width = image.shape[:2]
        projection = project(sweep.points, frame.cam2world, frame.K, width, height)
        rows = np.flatnonzero(visible_points(projection, frame.K, width, height))
        gap = np.abs(sweep.times[rows] - frame.time)
        u, v = projection.uv[rows].T
        border = np.minimum(np.minimum(u, width - u) / width, np.minimum(v, height - v) / height)
        better = (gap < best_gap[rows]) | ((gap == best_gap[rows]) & (border > best_border[rows]))
        rows, u, v = rows[better], u[better], v[better]
        best_gap[rows], best_border[rows], camera[rows] = gap[better], border[better], index
        rgb[rows] = image[np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)]
    return Colours(rgb, camera)


def _sorted_distances(points: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Distances to the k + 1 nearest, itself first, [P, k + 1]."""
    tree = cKDTree(points, leafsize=16, balanced_tree=False, compact_nodes=True)
    distance = np.empty((len(points), k + 1))
    # Asked in the order of the leaves, neighbours find their branch of the tree in the cache.
    distance[tree.indices] = tree.query(points[tree.indices], k=k + 1, workers=1)[0]
    return distance


def _mean(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    total = distance[:, 0].copy()
    for column in distance.T[1:]:
        total += column
    mean: NDArray[np.float64] = total / distance.shape[1]
    return mean
