"""Ground truth the plain way, from the definitions: one box after the other, matrices, no short cuts.

The slow twins of `ground_truth.point_boxes`, `scene_flow`, `moving_mask` and `track_smoothing`. A box is x width,
y length, z height; its heading is R(yaw) (0, 1, 0), the yaw counter-clockwise about world z.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from scipy.spatial import ConvexHull

from pipelines.ground_truth.scene_flow import SceneFlow
from pipelines.sources.base import CameraFrame, Cuboids, Sweep
from pipelines.sources.pandaset.labels import PANDASET_BUCKETS
from store_schema.labels import Bucket, FlowClass
from store_schema.protocol import FlowRules

NEAR_M = 0.1
P0 = FlowRules()


def box2world(position: np.ndarray, yaw: float) -> np.ndarray:
    """[4, 4]; the columns are the box's right, its heading, up and its centre."""
    pose = np.eye(4)
    pose[:3, 0] = [np.cos(yaw), np.sin(yaw), 0]
    pose[:3, 1] = [-np.sin(yaw), np.cos(yaw), 0]
    pose[:3, 3] = position
    return pose


def homogeneous(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def plain_assignment(
    points: np.ndarray, sensor: np.ndarray, cuboids: Cuboids, rules: FlowRules = P0
) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `assign_points`."""
    row, volume = np.full(len(points), -1, np.int32), np.full(len(points), np.inf)
    forbidden = np.zeros(len(points), bool)
    for m in range(len(cuboids.track)):
        right, heading = box2world(cuboids.position[m], cuboids.yaw[m])[:2, :2].T
        half = (cuboids.size[m] + [rules.expand_m, rules.expand_m, 0]) / 2
        level = np.flatnonzero(np.abs(points[:, 2] - cuboids.position[m, 2]) <= half[2])
        x, y = (points[level, :2] - cuboids.position[m, :2]).T
        inside = np.abs(x * right[0] + y * right[1]) <= half[0]
        inside &= np.abs(x * heading[0] + y * heading[1]) <= half[1]
        held = level[inside]
        own = (cuboids.sensor[m] == -1) | (cuboids.sensor[m] == sensor[held]) | (rules.lidars == "any")
        forbidden[held[~own]] = True
        take = held[own & ((rules.overlap == "last") | (np.prod(cuboids.size[m]) < volume[held]))]
        row[take], volume[take] = m, np.prod(cuboids.size[m])
    return row, forbidden & (row < 0)


def plain_flow(sweep: Sweep, cuboids: Cuboids, cuboids_next: Cuboids | None, rules: FlowRules = P0) -> SceneFlow:
    """Twin of `flow_ground_truth`: points in homogeneous coordinates from box to box."""
    row, other_only = plain_assignment(sweep.points, sweep.sensor, cuboids, rules)
    count = len(sweep.points)
    flow, bucket = np.zeros((count, 3)), np.full(count, Bucket.BACKGROUND, np.uint8)
    flow_class = np.full(count, FlowClass.BACKGROUND_STATIC, np.uint8)
    for m, track in enumerate(cuboids.track):
        rows = np.flatnonzero(row == m)
        bucket[rows] = PANDASET_BUCKETS.get(cuboids.label[m], Bucket.OTHER)
        if cuboids_next is None or track not in cuboids_next.track:
            flow_class[rows] = FlowClass.IGNORED
            continue
        n = cuboids_next.track.index(track)
        now, later = (box2world(b.position[i], b.yaw[i]) for b, i in ((cuboids, m), (cuboids_next, n)))
        points = homogeneous(sweep.points[rows])
        flow[rows] = (points @ (later @ np.linalg.inv(now)).T - points)[:, :3]
        dynamic = np.linalg.norm(flow[rows], axis=1) >= 0.05
        flow_class[rows] = np.where(dynamic, FlowClass.FOREGROUND_DYNAMIC, FlowClass.FOREGROUND_STATIC)
    flow_class[other_only], bucket[other_only] = FlowClass.IGNORED, Bucket.OTHER
    if cuboids_next is None:
        flow_class[:] = FlowClass.IGNORED
    return SceneFlow(flow, flow_class, bucket, row)


def plain_box_times(sweep: Sweep, cuboids: Cuboids) -> np.ndarray:
    """Twin of `annotation_times`: middle time of the LiDAR's returns in each box, else the nearest's, [M] s."""
    rows = plain_assignment(sweep.points, sweep.sensor, cuboids, P0)[0]
    times = []
    for m in range(len(cuboids.track)):
        lidar = sweep.sensor == max(cuboids.sensor[m], 0)
        inside = np.sort(sweep.times[lidar & (rows == m)])
        away = np.hypot(*(sweep.points[lidar] - cuboids.position[m])[:, :2].T)
        times.append(inside[len(inside) // 2] if len(inside) else sweep.times[lidar][np.argmin(away)])
    return np.array(times)


def plain_moving_mask(
    camera: CameraFrame,
    width: int,
    height: int,
    cuboids: Cuboids,
    cuboids_next: Cuboids,
    time: float,
    time_next: float,
    box_times: np.ndarray,
    sensor: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `moving_mask`, and the pixels whose centres lie within 1e-6 px of an outline: either answer is right."""
    mask, doubtful = np.zeros((height, width), bool), np.zeros((height, width), bool)
    corners = homogeneous(np.array(list(product((-0.5, 0.5), repeat=3))))
    for m, track in enumerate(cuboids.track):
        if track not in cuboids_next.track or cuboids.sensor[m] not in (-1, sensor):
            continue
        n = cuboids_next.track.index(track)
        corner = corners * np.append(cuboids.size[m], 1)
        now, later = (box2world(b.position[i], b.yaw[i]) for b, i in ((cuboids, m), (cuboids_next, n)))
        if np.linalg.norm(corner @ later.T - corner @ now.T, axis=1).max() < 0.05:
            continue
        share = (camera.time - box_times[m]) / (time_next - time)
        turn = np.angle(np.exp(1j * (cuboids_next.yaw[n] - cuboids.yaw[m])))
        between = (1 - share) * cuboids.position[m] + share * cuboids_next.position[n]
        pose = box2world(between, cuboids.yaw[m] + share * turn)
        in_camera = (corner @ (np.linalg.inv(camera.cam2world) @ pose).T)[:, :3]
        mark_hull(mask, doubtful, in_camera, camera.K)
    return mask, doubtful


def mark_hull(mask: np.ndarray, doubtful: np.ndarray, in_camera: np.ndarray, K: np.ndarray) -> None:
    """Pixels whose centres lie in the convex hull of the projected part of a box beyond the near plane."""
    vertices = [p for p in in_camera if p[2] >= NEAR_M]
    for a, b in combinations(in_camera, 2):
        if (a[2] < NEAR_M) != (b[2] < NEAR_M):
            vertices.append(a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2]))
    if not vertices:
        return
    pixels = np.array(vertices) @ K.T
    outline = pixels[:, :2] / pixels[:, 2:]
    shape = np.array(mask.shape)[::-1]
    first = np.clip(np.floor(outline.min(axis=0)) - 1, 0, shape).astype(int)
    last = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, shape).astype(int)
    u, v = np.arange(first[0], last[0]) + 0.5, np.arange(first[1], last[1])[:, None] + 0.5
    if not (u.size and v.size):
        return
    outside = np.full((len(v), len(u)), -np.inf)  # px beyond the hull's sides, negative inside
    for a, b, c in ConvexHull(outline).equations:
        np.maximum(outside, a * u + (b * v + c), out=outside)
    mask[first[1] : last[1], first[0] : last[0]] |= outside <= 0
    doubtful[first[1] : last[1], first[0] : last[0]] |= np.abs(outside) < 1e-6


def plain_smoothed_motion(
    window: Sequence[tuple[float, Cuboids]], frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twin of `smoothed_motion`: step, turn and known by NumPy's own least squares."""
    frames = {boxes.frame: (time, boxes) for time, boxes in window if abs(boxes.frame - frame) <= 7}
    now, current = frames[frame]
    count = len(current.track)
    step, turn, known = np.zeros((count, 3)), np.zeros(count), np.zeros(count, bool)
    for m, track in enumerate(current.track):
        held = [(t - now, b, b.track.index(track)) for t, b in frames.values() if track in b.track]
        if frame + 1 not in frames or track not in frames[frame + 1][1].track:
            continue
        times = np.array([t for t, _, _ in held])
        place = np.array([b.position[row] for _, b, row in held])
        yaw = np.unwrap([b.yaw[row] for _, b, row in held])
        degree = min(2, len(held) - 1)
        ahead = frames[frame + 1][0] - now
        curves = [np.polyfit(times, value, degree) for value in (*(place - place.mean(axis=0)).T, yaw)]
        *moved, turn[m] = (np.polyval(curve, ahead) - np.polyval(curve, 0) for curve in curves)
        step[m], known[m] = moved, True
    return step, turn, known
