"""Depth edges of the LiDAR, edges of an image, and how well they meet, for `benchmarks.alignment`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import simplejpeg
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter1d

from benchmarks.alignment.rig import Track
from pipelines.features.visibility import see
from pipelines.ground_truth.point_boxes import assign_points
from pipelines.ground_truth.scene_flow import moving_boxes
from pipelines.sources.base import CameraFrame, Cuboids, Sweep

LIDAR_IN_EGO = np.array([0.0, 0.3, 2.05])  # m; 0.15 m more or less changes one depth edge in ten
STEP_RAD, LEVEL_RAD = np.radians(0.2), np.radians(0.1)  # its turn between firings; over half of its ring spacing
BLUR_PX = 1.5
Size = tuple[int, int]
"""Width and height of an image."""


def depth_edges(sweep: Sweep, ego: Track) -> NDArray[np.int64]:
    """Rows of the spinning LiDAR's returns that lie on a depth edge, [E]."""
    rows = np.flatnonzero(sweep.sensor == 0)
    times, centres = sweep.times[rows], ego.poses[:, :3, 3]
    origin = np.stack([np.interp(times, ego.times, axis) for axis in centres.T], axis=1)
    seen = (sweep.points[rows] - origin) @ ego.at(sweep.time)[:3, :3] - LIDAR_IN_EGO
    distance = np.linalg.norm(seen, axis=1)
    azimuth, elevation = np.arctan2(seen[:, 0], seen[:, 1]), np.arcsin(seen[:, 2] / distance)
    return rows[edge_mask(azimuth, elevation, distance, np.argsort(azimuth, kind="stable"))]


@njit(cache=True, nogil=True)
def edge_mask(
    azimuth: NDArray[np.float64],  # [P] rad
    elevation: NDArray[np.float64],  # [P] rad
    distance: NDArray[np.float64],  # [P] m
    order: NDArray[np.int64],  # [P] by azimuth
) -> NDArray[np.bool_]:
    """Returns with a surface on one side (a neighbour within 0.5 m) and only farther returns on the other, [P]."""
    mask = np.zeros(len(order), dtype=np.bool_)
    for a in range(len(order)):
        i = order[a]
        limit = distance[i] + max(1.0, 0.1 * distance[i])
        farther, others, surface = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)
        for side in range(2):
            b = a + 2 * side - 1
            while 0 <= b < len(order) and abs(azimuth[order[b]] - azimuth[i]) <= 1.75 * STEP_RAD:
                j = order[b]
                if abs(azimuth[j] - azimuth[i]) > 0.25 * STEP_RAD and abs(elevation[j] - elevation[i]) < LEVEL_RAD:
                    farther[side] += distance[j] > limit
                    others[side] += distance[j] <= limit
                    surface[side] += abs(distance[j] - distance[i]) < 0.5
                b += 2 * side - 1
        for side in range(2):
            mask[i] |= farther[side] > 0 and others[side] == 0 and surface[1 - side] > 0
    return mask


def edge_map(jpeg: bytes) -> NDArray[np.float32]:
    """Horizontal gradient of an image relative to its surroundings [H, W]; mean about 1."""
    grey = simplejpeg.decode_jpeg(jpeg, colorspace="GRAY")[..., 0].astype(np.float32)
    slope = np.abs(np.gradient(gaussian_filter(grey, BLUR_PX), axis=1))
    # A quarter of a grey level a pixel is noise: a flat wall must not become edges.
    return (slope + 0.25) / (uniform_filter1d(slope, 121, axis=1) + 0.25)


@njit(cache=True, nogil=True)
def edge_sums(
    gradient: NDArray[np.float32],  # [H, W]
    uv: NDArray[np.float64],  # [E, 2] px
    way: NDArray[np.float64],  # [E] -1 or 1
    offsets: NDArray[np.float64],  # [S] px
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of the gradient over edges moved sideways by each offset times their way, and how many fell in: [S] twice."""
    height, width = gradient.shape
    total, count = np.zeros(len(offsets)), np.zeros(len(offsets))
    for e in range(len(uv)):
        row = int(np.floor(uv[e, 1]))
        for s in range(len(offsets)):
            u = uv[e, 0] + way[e] * offsets[s] - 0.5
            left = int(np.floor(u))
            if 0 <= row < height and 0 <= left < width - 1:
                part = u - left
                total[s] += (1 - part) * gradient[row, left] + part * gradient[row, left + 1]
                count[s] += 1
    return total, count


def pixels(points: NDArray[np.float64], cam2world: NDArray[np.float64], K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where points in front of a camera project, in the image or not, [E, 2]."""
    seen = (points - cam2world[:3, 3]) @ cam2world[:3, :3] @ K.T
    return seen[:, :2] / seen[:, 2:]


def static_rows(sweep: Sweep, cuboids: Cuboids | None, following: Cuboids | None) -> NDArray[np.bool_]:
    """Points not in, nor within 0.3 m of, a box that moves."""
    if cuboids is None or following is None:
        return np.ones(len(sweep.points), bool)
    rows = np.flatnonzero(moving_boxes(cuboids, following))
    wide = replace(
        cuboids,
        track=tuple(cuboids.track[row] for row in rows),
        position=cuboids.position[rows],
        size=cuboids.size[rows] + 0.6,
        yaw=cuboids.yaw[rows],
        sensor=np.full(len(rows), -1, np.int8),
    )
    return assign_points(sweep.points, sweep.sensor, wide)[0] < 0


def visible_edges(sweep: Sweep, edges: NDArray[np.int64], camera: CameraFrame, size: Size) -> NDArray[np.int64]:
    seen = see(sweep, camera, *size)
    return np.intersect1d(seen.projection.rows[seen.visible], edges)


def image_size(jpeg: bytes) -> Size:
    height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
    return int(width), int(height)
