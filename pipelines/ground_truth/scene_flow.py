"""Scene-flow ground truth from cuboids: for every LiDAR point its motion to the next sweep.

Flow is in world axes and so free of ego motion. By default the point set and rules are those of the evaluation
(point set P0): boxes as annotated, without expansion; each LiDAR's points meet that LiDAR's boxes only. Other
protocols' rules are options (`FlowRules`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.geometry.rigid import cos_sin
from pipelines.ground_truth.point_boxes import assign_points
from pipelines.sources.base import Cuboids, Sweep
from store_schema.labels import DYNAMIC_THRESHOLD_M, Bucket, FlowClass
from store_schema.protocol import P0_RULES, FlowRules

NO_BUCKETS: Mapping[str, Bucket] = MappingProxyType({})
"""A class map that knows no label: all foreground is `Bucket.OTHER`."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneFlow:
    """Motion of each point of a sweep to the next sweep; P rows."""

    flow: NDArray[np.float64]  # [P, 3] m, world axes, ego motion free; 0 where the class is IGNORED
    flow_class: NDArray[np.uint8]  # [P] FlowClass
    bucket: NDArray[np.uint8]  # [P] Bucket
    cuboid: NDArray[np.int32]  # [P] row of the box the point lies in, -1 none


def flow_ground_truth(
    sweep: Sweep,
    cuboids: Cuboids,
    cuboids_next: Cuboids | None,
    rules: FlowRules = P0_RULES,
    buckets: Mapping[str, Bucket] = NO_BUCKETS,
) -> SceneFlow:
    """Scene flow of every point of `sweep` from the boxes of its frame and of the next one.

    By the default `rules` a point belongs to the smallest box (ties: the lowest row) that contains it and was
    annotated for the point's LiDAR: boxes of sensor -1 and of the point's own sensor. It moves rigidly with that
    box: ``flow = R1 R0^T (p - c0) + c1 - p``. Dynamic is ``||flow|| >= 0.05 m`` per point and pair, as in the
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
        rules: which box a point belongs to.
        buckets: class of the bucketed metric by label, `pipelines.sources.source.Source.buckets`.

    Raises:
        ValueError: the cuboids are of another frame than the sweep, or a track stands twice in a frame.
    """
    if cuboids.frame != sweep.frame:
        raise ValueError(f"sweep of frame {sweep.frame} with cuboids of frame {cuboids.frame}: pass the same frame")
    cuboid, other_only = assign_points(sweep.points, sweep.sensor, cuboids, rules)
    flow = np.zeros_like(sweep.points)
    classes = [buckets.get(label, Bucket.OTHER) for label in cuboids.label]
    labels = np.array([*classes, Bucket.BACKGROUND], dtype=np.uint8)
    bucket = labels[cuboid]
    bucket[other_only] = Bucket.OTHER
    flow_class = np.full(len(cuboid), FlowClass.IGNORED, dtype=np.uint8)
    if cuboids_next is None:
        return SceneFlow(flow, flow_class, bucket, cuboid)

    row_next = match_tracks(cuboids, cuboids_next)
    flow_class[(cuboid < 0) & ~other_only] = FlowClass.BACKGROUND_STATIC
    known = np.flatnonzero((cuboid >= 0) & (np.append(row_next, -1)[cuboid] >= 0))
    boxes = cuboid[known]
    moved = rigid_flow(sweep.points[known], boxes, cuboids.position, *_pair_motion(row_next, cuboids, cuboids_next))
    flow[known] = moved
    dynamic = _norm(moved) >= DYNAMIC_THRESHOLD_M
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
    motion = _pair_motion(row_next, cuboids, cuboids_next)
    flow = rigid_flow(corners.reshape(-1, 3), rows, cuboids.position, *motion)
    moving[known] = (_norm(flow).reshape(-1, 8) >= DYNAMIC_THRESHOLD_M).any(axis=1)
    return moving


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
    cos, sin = (part[:, None] for part in cos_sin(yaw))
    x = cos * local[..., 0] - sin * local[..., 1]
    y = sin * local[..., 0] + cos * local[..., 1]
    return np.stack([x, y, local[..., 2]], axis=-1) + position[:, None, :]


def rigid_flow(
    points: NDArray[np.float64],  # [Q, 3] m
    rows: NDArray[np.integer],  # [Q] the box a point is fixed to
    centre: NDArray[np.float64],  # [M, 3] m, of the boxes
    step: NDArray[np.float64],  # [M, 3] m, of the centres
    turn: NDArray[np.float64],  # [M] rad, about the vertical through the centre
) -> NDArray[np.float64]:
    """Motion of points fixed to boxes that step and turn, [Q, 3] m; exactly 0 on a box at rest."""
    flow: NDArray[np.float64] = _moved_with(points, rows, centre, step, *cos_sin(turn))
    return flow


def _pair_motion(
    row_next: NDArray[np.int64],  # [M] of `match_tracks`
    cuboids: Cuboids,
    cuboids_next: Cuboids,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Step [M, 3] m and turn [M] rad of each box to the other frame; 0 where its track is not there."""
    known = np.flatnonzero(row_next >= 0)
    step, turn = np.zeros_like(cuboids.position), np.zeros_like(cuboids.yaw)
    step[known] = cuboids_next.position[row_next[known]] - cuboids.position[known]
    turn[known] = cuboids_next.yaw[row_next[known]] - cuboids.yaw[known]
    return step, turn


def _norm(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, z = vectors.T
    norm: NDArray[np.float64] = np.sqrt(x * x + y * y + z * z)
    return norm


@njit(cache=True, nogil=True)
def _moved_with(
    points: NDArray[np.float64],  # [Q, 3]
    rows: NDArray[np.integer],  # [Q]
    centre: NDArray[np.float64],  # [M, 3]
    step: NDArray[np.float64],  # [M, 3]
    cos: NDArray[np.float64],  # [M] of the turn
    sin: NDArray[np.float64],  # [M]
) -> NDArray[np.float64]:
    """Written as differences: a box at rest gives exactly 0."""
    flow = np.empty_like(points)
    for i in range(len(points)):
        m = rows[i]
        x, y = points[i, 0] - centre[m, 0], points[i, 1] - centre[m, 1]
        flow[i, 0] = step[m, 0] + ((cos[m] - 1.0) * x - sin[m] * y)
        flow[i, 1] = step[m, 1] + (sin[m] * x + (cos[m] - 1.0) * y)
        flow[i, 2] = step[m, 2]
    return flow
