"""Scene-flow ground truth from cuboids: for every LiDAR point its motion to the next sweep.

Flow is in world axes and so free of ego motion. The point set and rules are those of the evaluation
(point set P0): boxes as annotated, without expansion; each LiDAR's points meet that LiDAR's boxes only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.sources.base import Cuboids, Sweep
from store_schema.labels import DYNAMIC_THRESHOLD_M, Bucket, FlowClass, bucket_of

_SLAB_M = 1.0  # width of the x slabs that cut down the boxes a point is tested against


@dataclass(frozen=True, slots=True, eq=False)
class SceneFlow:
    """Motion of each point of a sweep to the next sweep; P rows."""

    flow: NDArray[np.float64]  # [P, 3] m, world axes, ego motion free; 0 where the class is IGNORED
    flow_class: NDArray[np.uint8]  # [P] FlowClass
    bucket: NDArray[np.uint8]  # [P] Bucket
    cuboid: NDArray[np.int32]  # [P] row of the box the point lies in, -1 none


def flow_ground_truth(sweep: Sweep, cuboids: Cuboids, cuboids_next: Cuboids | None) -> SceneFlow:
    """Scene flow of every point of `sweep` from the boxes of its frame and of the next one.

    A point belongs to the smallest box (ties: the lowest row) that contains it and was annotated for the point's
    LiDAR: boxes of sensor -1 and of the point's own sensor. It moves rigidly with that box:
    ``flow = R1 R0^T (p - c0) + c1 - p``. Dynamic is ``||flow|| >= 0.05 m`` per point and pair, as in the
    Argoverse 2 three-way EPE. The threshold is not scaled by the time of the pair: both the threshold and
    PandaSet's frames are for 10 Hz. Classes:

    * no box: BACKGROUND_STATIC, zero flow;
    * only in boxes of the other LiDAR (sibling boxes sit up to a metre off): IGNORED, bucket OTHER, cuboid -1;
    * the box's track is not in the next frame: IGNORED, zero flow;
    * no next frame: every point IGNORED, zero flow.

    Args:
        sweep: P points.
        cuboids: boxes of the same frame.
        cuboids_next: boxes of the next frame, None at the end of a log.

    Raises:
        ValueError: the cuboids are of another frame than the sweep, or a track stands twice in a frame.
    """
    if cuboids.frame != sweep.frame:
        raise ValueError(f"sweep of frame {sweep.frame} with cuboids of frame {cuboids.frame}: pass the same frame")
    cuboid, other_only = assign_points(sweep.points, sweep.sensor, cuboids)
    flow = np.zeros_like(sweep.points)
    labels = np.array([bucket_of(label) for label in cuboids.label] + [Bucket.BACKGROUND], dtype=np.uint8)
    bucket = labels[cuboid]
    bucket[other_only] = Bucket.OTHER
    flow_class = np.full(len(cuboid), FlowClass.IGNORED, dtype=np.uint8)
    if cuboids_next is None:
        return SceneFlow(flow, flow_class, bucket, cuboid)

    row_next = match_tracks(cuboids, cuboids_next)
    flow_class[(cuboid < 0) & ~other_only] = FlowClass.BACKGROUND_STATIC
    known = np.flatnonzero((cuboid >= 0) & (np.append(row_next, -1)[cuboid] >= 0))
    boxes = cuboid[known]
    flow[known] = _rigid_flow(sweep.points[known], boxes, row_next[boxes], cuboids, cuboids_next)
    dynamic = _norm(flow[known]) >= DYNAMIC_THRESHOLD_M
    flow_class[known] = np.where(dynamic, FlowClass.FOREGROUND_DYNAMIC, FlowClass.FOREGROUND_STATIC)
    return SceneFlow(flow, flow_class, bucket, cuboid)


def moving_boxes(cuboids: Cuboids, cuboids_next: Cuboids) -> NDArray[np.bool_]:
    """Which boxes move: any corner by >= 0.05 m to the other frame.

    Returns:
        [M] bool; False where the track is not in the other frame (its motion is unknown).

    Raises:
        ValueError: a track stands twice in a frame.
    """
    row_next = match_tracks(cuboids, cuboids_next)
    moving = np.zeros(len(row_next), dtype=np.bool_)
    known = np.flatnonzero(row_next >= 0)
    corners = box_corners(cuboids.position[known], cuboids.size[known], cuboids.yaw[known])
    rows = np.repeat(known, 8)
    flow = _rigid_flow(corners.reshape(-1, 3), rows, row_next[rows], cuboids, cuboids_next)
    moving[known] = (_norm(flow).reshape(-1, 8) >= DYNAMIC_THRESHOLD_M).any(axis=1)
    return moving


def assign_points(
    points: NDArray[np.float64],  # [P, 3] m, world
    sensor: NDArray[np.uint8],  # [P] LiDAR of the point
    cuboids: Cuboids,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The box each point lies in.

    Returns:
        Row of the smallest box of the point's own LiDAR (-1 none) [P], and whether the point lies in boxes of
        the other LiDAR only [P]. A point on a face is inside.
    """
    if not len(cuboids.track):
        return np.full(len(points), -1, dtype=np.int32), np.zeros(len(points), dtype=np.bool_)
    volume = cuboids.size[:, 0] * cuboids.size[:, 1] * cuboids.size[:, 2]
    order = np.argsort(volume, kind="stable")  # so that the first hit is the answer
    position, half, box_sensor = cuboids.position[order], cuboids.size[order] / 2, cuboids.sensor[order]
    cos, sin = _cos_sin(cuboids.yaw[order])
    reach = np.abs(cos) * half[:, 0] + np.abs(sin) * half[:, 1] + 1e-6
    origin = float((position[:, 0] - reach).min())
    first = np.floor((position[:, 0] - reach - origin) / _SLAB_M).astype(np.int64)
    last = np.floor((position[:, 0] + reach - origin) / _SLAB_M).astype(np.int64)
    slabs = [np.flatnonzero((first <= slab) & (slab <= last)) for slab in range(int(last.max()) + 1)]
    start = np.concatenate([[0], np.cumsum([len(slab) for slab in slabs])])
    hit, other_only = _first_box(
        points, sensor, start, np.concatenate(slabs), origin, position, half, cos, sin, box_sensor.astype(np.int64)
    )
    return np.append(order, -1)[hit].astype(np.int32), other_only


def match_tracks(cuboids: Cuboids, cuboids_next: Cuboids) -> NDArray[np.int64]:
    """Row of each box's track in the other frame [M], -1 where it is missing.

    Raises:
        ValueError: a track stands twice in a frame.
    """
    for boxes in (cuboids, cuboids_next):
        if len(set(boxes.track)) != len(boxes.track):
            twice = sorted({track for track in boxes.track if boxes.track.count(track) > 1})
            raise ValueError(f"frame {boxes.frame}: a track stands more than once among the cuboids: {twice[:3]}")
    rows = {track: row for row, track in enumerate(cuboids_next.track)}
    return np.array([rows.get(track, -1) for track in cuboids.track], dtype=np.int64)


def box_corners(
    position: NDArray[np.float64],  # [M, 3] m
    size: NDArray[np.float64],  # [M, 3] m
    yaw: NDArray[np.float64],  # [M] rad
) -> NDArray[np.float64]:
    """World corners [M, 8, 3] of boxes, m."""
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    local = signs * size[:, None, :]
    cos, sin = (part[:, None] for part in _cos_sin(yaw))
    x = cos * local[..., 0] - sin * local[..., 1]
    y = sin * local[..., 0] + cos * local[..., 1]
    return np.stack([x, y, local[..., 2]], axis=-1) + position[:, None, :]


def _rigid_flow(
    points: NDArray[np.float64],  # [Q, 3] m
    rows: NDArray[np.integer],  # [Q] into cuboids
    rows_next: NDArray[np.integer],  # [Q] into cuboids_next
    cuboids: Cuboids,
    cuboids_next: Cuboids,
) -> NDArray[np.float64]:
    """Motion of points fixed to boxes, [Q, 3] m. Written as differences: a box at rest gives exactly 0."""
    cos, sin = _cos_sin(cuboids_next.yaw[rows_next] - cuboids.yaw[rows])
    x, y, _ = (points - cuboids.position[rows]).T
    flow: NDArray[np.float64] = cuboids_next.position[rows_next] - cuboids.position[rows]
    flow[:, 0] += (cos - 1.0) * x - sin * y
    flow[:, 1] += sin * x + (cos - 1.0) * y
    return flow


def _cos_sin(angle: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Their last bits differ between CPUs; 12 decimals (a picometre on a box) do not.
    return np.cos(angle, dtype=np.float64).round(12), np.sin(angle, dtype=np.float64).round(12)


def _norm(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, z = vectors.T
    norm: NDArray[np.float64] = np.sqrt(x * x + y * y + z * z)
    return norm


@njit(cache=True, nogil=True)
def _first_box(
    points: NDArray[np.float64],  # [P, 3]
    sensor: NDArray[np.uint8],  # [P]
    start: NDArray[np.int64],  # [S + 1] slab s holds members[start[s]:start[s + 1]], ascending
    members: NDArray[np.int64],
    origin: float,
    position: NDArray[np.float64],  # [M, 3] smallest box first
    half: NDArray[np.float64],  # [M, 3]
    cos: NDArray[np.float64],  # [M]
    sin: NDArray[np.float64],  # [M]
    box_sensor: NDArray[np.int64],  # [M]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    hit = np.full(len(points), -1, dtype=np.int64)
    other_only = np.zeros(len(points), dtype=np.bool_)
    num_slabs = len(start) - 1
    for i in range(len(points)):
        slab = np.floor((points[i, 0] - origin) / _SLAB_M)
        if not 0 <= slab < num_slabs:
            continue
        s = int(slab)
        for m in members[start[s] : start[s + 1]]:
            dx, dy = points[i, 0] - position[m, 0], points[i, 1] - position[m, 1]
            if (
                abs(cos[m] * dx + sin[m] * dy) <= half[m, 0]
                and abs(cos[m] * dy - sin[m] * dx) <= half[m, 1]
                and abs(points[i, 2] - position[m, 2]) <= half[m, 2]
            ):
                if box_sensor[m] == -1 or box_sensor[m] == sensor[i]:
                    hit[i] = m
                    other_only[i] = False
                    break
                other_only[i] = True
    return hit, other_only
