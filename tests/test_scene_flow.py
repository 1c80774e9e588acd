"""Scene-flow ground truth: analytic motions, the box rules one by one, a plain twin on the real log."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pipelines.point_boxes import assign_points
from pipelines.scene_flow import SceneFlow, box_corners, flow_ground_truth, moving_boxes
from pipelines.sources.base import Cuboids, Sweep
from store_schema.labels import PANDASET_BUCKETS, Bucket, FlowClass
from tests import real_slice

IGNORED, BS, FS, FD = (
    FlowClass.IGNORED,
    FlowClass.BACKGROUND_STATIC,
    FlowClass.FOREGROUND_STATIC,
    FlowClass.FOREGROUND_DYNAMIC,
)


def make_sweep(points: list | np.ndarray, sensor: list | int = 0, frame: int = 0) -> Sweep:
    points = np.asarray(points, float).reshape(-1, 3)
    count = len(points)
    return Sweep(
        frame=frame,
        time=0.0,
        ego2world=np.eye(4),
        points=points,
        intensity=np.zeros(count),
        times=np.zeros(count),
        sensor=np.broadcast_to(np.asarray(sensor, np.uint8), count).copy(),
    )


def make_cuboids(*rows: tuple, frame: int = 0) -> Cuboids:
    """Rows of (track, label, position, size, yaw, sensor)."""
    return Cuboids(
        frame=frame,
        track=tuple(row[0] for row in rows),
        label=tuple(row[1] for row in rows),
        position=np.array([row[2] for row in rows], float).reshape(-1, 3),
        size=np.array([row[3] for row in rows], float).reshape(-1, 3),
        yaw=np.array([row[4] for row in rows], float),
        stationary=np.zeros(len(rows), bool),
        sensor=np.array([row[5] for row in rows], np.int8),
    )


def plain_flow(sweep: Sweep, cuboids: Cuboids, cuboids_next: Cuboids | None) -> SceneFlow:
    """The slow twin: every box against all points, rotation matrices, no shortcuts."""

    def rotation(yaw: float) -> np.ndarray:
        return np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])

    count = len(sweep.points)
    row, volume = np.full(count, -1, np.int32), np.full(count, np.inf)
    in_other = np.zeros(count, bool)
    for m in range(len(cuboids.track)):
        local = (sweep.points - cuboids.position[m]) @ rotation(cuboids.yaw[m])
        inside = (np.abs(local) <= cuboids.size[m] / 2).all(axis=1)
        own = (cuboids.sensor[m] == -1) | (cuboids.sensor[m] == sweep.sensor)
        in_other |= inside & ~own
        take = inside & own & (np.prod(cuboids.size[m]) < volume)
        row[take], volume[take] = m, np.prod(cuboids.size[m])
    flow, flow_class, bucket = np.zeros((count, 3)), np.full(count, BS, np.uint8), np.zeros(count, np.uint8)
    for m, track in enumerate(cuboids.track):
        rows = row == m
        bucket[rows] = PANDASET_BUCKETS.get(cuboids.label[m], Bucket.OTHER)
        if cuboids_next is None or track not in cuboids_next.track:
            flow_class[rows] = IGNORED
            continue
        n = cuboids_next.track.index(track)
        turn = rotation(cuboids_next.yaw[n]) @ rotation(cuboids.yaw[m]).T
        points = sweep.points[rows]
        flow[rows] = (points - cuboids.position[m]) @ turn.T + cuboids_next.position[n] - points
        flow_class[rows] = np.where(np.linalg.norm(flow[rows], axis=1) >= 0.05, FD, FS)
    other_only = in_other & (row < 0)
    flow_class[other_only], bucket[other_only] = IGNORED, Bucket.OTHER
    if cuboids_next is None:
        flow_class[:] = IGNORED
    return SceneFlow(flow, flow_class, bucket, row)


CAR = ("a", "Car", (10, 5, 1), (2, 4, 2), 0.3, -1)


def test_turning_and_driving_box_against_the_analytic_motion() -> None:
    rng = np.random.default_rng(0)
    local = rng.uniform(-1, 1, (200, 3)) * [1, 2, 1]

    def place(position: tuple, yaw: float) -> np.ndarray:
        x, y, z = local.T
        return np.stack([np.cos(yaw) * x - np.sin(yaw) * y, np.sin(yaw) * x + np.cos(yaw) * y, z], 1) + position

    start, end = place((10, 5, 1), 0.3), place((10.4, 6.1, 1.05), 0.42)
    result = flow_ground_truth(
        make_sweep(start),
        make_cuboids(CAR),
        make_cuboids(("a", "Car", (10.4, 6.1, 1.05), (2, 4, 2), 0.42, -1), frame=1),
    )
    np.testing.assert_allclose(result.flow, end - start, atol=1e-11)
    assert (result.flow_class == FD).all()
    assert (result.bucket == Bucket.CAR).all()
    assert (result.cuboid == 0).all()


def test_width_is_x_and_heading_is_y() -> None:
    box = make_cuboids(("a", "Car", (0, 0, 0), (2, 6, 2), np.pi / 2, -1))  # heading turns to -x
    points = [[2.9, 0, 0], [-2.9, 0, 0], [0, 2.9, 0], [0, 0.9, 0]]
    row, _ = assign_points(np.array(points), np.zeros(4, np.uint8), box)
    np.testing.assert_array_equal(row, [0, 0, -1, 0])


def test_at_rest_is_exactly_zero_and_static() -> None:
    result = flow_ground_truth(make_sweep([[10.1, 5.2, 1.3]]), make_cuboids(CAR), make_cuboids(CAR, frame=1))
    assert (result.flow == 0).all()
    assert result.flow_class[0] == FS


@pytest.mark.parametrize(("step", "expected"), [(0.0499, FS), (0.0501, FD)])
def test_five_centimetres_are_dynamic(step: float, expected: FlowClass) -> None:
    moved = ("a", "Car", (10, 5 + step, 1), (2, 4, 2), 0.3, -1)
    result = flow_ground_truth(make_sweep([[10, 5, 1]]), make_cuboids(CAR), make_cuboids(moved, frame=1))
    assert result.flow_class[0] == expected


def test_dynamic_is_judged_per_point() -> None:
    """A box that turns on the spot: its centre is static, its far end is not."""
    turned = ("a", "Car", (10, 5, 1), (2, 4, 2), 0.35, -1)
    end = np.array([10, 5, 1]) + 1.9 * np.array([-np.sin(0.3), np.cos(0.3), 0])
    result = flow_ground_truth(make_sweep([[10, 5, 1], end]), make_cuboids(CAR), make_cuboids(turned, frame=1))
    np.testing.assert_array_equal(result.flow_class, [FS, FD])
    np.testing.assert_array_equal(moving_boxes(make_cuboids(CAR), make_cuboids(turned, frame=1)), [True])


def test_smallest_box_wins_then_the_lowest_row() -> None:
    big = ("big", "Bus", (0, 0, 0), (4, 4, 4), 0, -1)
    small = ("small", "Pedestrian", (0, 0, 0), (1, 1, 1), 0, -1)
    twin = ("twin", "Car", (0, 0, 0), (1, 1, 1), 0, -1)
    boxes = make_cuboids(big, twin, small)
    result = flow_ground_truth(make_sweep([[0, 0, 0], [1.5, 0, 0]]), boxes, dataclasses.replace(boxes, frame=1))
    np.testing.assert_array_equal(result.cuboid, [1, 0])
    np.testing.assert_array_equal(result.bucket, [Bucket.CAR, Bucket.OTHER_VEHICLES])


def test_siblings_serve_their_own_lidar_only() -> None:
    boxes = make_cuboids(
        ("of0", "Car", (0, 0, 0), (2, 4, 2), 0, 0),
        ("of1", "Car", (0, 1, 0), (2, 4, 2), 0, 1),
        ("both", "Car", (20, 0, 0), (2, 4, 2), 0, -1),
    )
    points = [[0, 0, 0], [0, 0, 0], [0, 2.9, 0], [0, -1.9, 0], [20, 0, 0], [20, 0, 0]]
    result = flow_ground_truth(make_sweep(points, [0, 1, 0, 1, 0, 1]), boxes, dataclasses.replace(boxes, frame=1))
    np.testing.assert_array_equal(result.cuboid, [0, 1, -1, -1, 2, 2])
    np.testing.assert_array_equal(result.flow_class, [FS, FS, IGNORED, IGNORED, FS, FS])
    np.testing.assert_array_equal(result.bucket[2:4], [Bucket.OTHER, Bucket.OTHER])


def test_missing_track_and_missing_frame_are_ignored() -> None:
    gone = ("b", "Cones", (20, 0, 1), (2, 2, 2), 0, -1)
    sweep = make_sweep([[10, 5, 1], [20, 0, 1], [50, 50, 0]])
    moved = make_cuboids(("a", "Car", (10, 6, 1), (2, 4, 2), 0.3, -1), frame=1)
    result = flow_ground_truth(sweep, make_cuboids(CAR, gone), moved)
    np.testing.assert_array_equal(result.flow_class, [FD, IGNORED, BS])
    np.testing.assert_array_equal(result.cuboid, [0, 1, -1])
    np.testing.assert_array_equal(result.flow[1:], 0)
    np.testing.assert_array_equal(result.bucket, [Bucket.CAR, Bucket.OTHER, Bucket.BACKGROUND])
    np.testing.assert_array_equal(moving_boxes(make_cuboids(CAR, gone), moved), [True, False])
    last = flow_ground_truth(sweep, make_cuboids(CAR, gone), None)
    assert (last.flow_class == IGNORED).all()
    assert (last.flow == 0).all()
    np.testing.assert_array_equal(last.cuboid, [0, 1, -1])


def test_empty_inputs() -> None:
    nothing = make_cuboids()
    result = flow_ground_truth(make_sweep([[1, 2, 3]]), nothing, make_cuboids(frame=1))
    assert result.flow_class[0] == BS
    assert len(moving_boxes(nothing, make_cuboids(CAR, frame=1))) == 0
    assert len(flow_ground_truth(make_sweep([]), make_cuboids(CAR), make_cuboids(CAR, frame=1)).flow) == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="frame 0 with cuboids of frame 3"):
        flow_ground_truth(make_sweep([[0, 0, 0]]), make_cuboids(CAR, frame=3), None)
    with pytest.raises(ValueError, match="more than once"):
        flow_ground_truth(make_sweep([[0, 0, 0]]), make_cuboids(CAR, CAR), make_cuboids(CAR, frame=1))


def test_corners_of_a_turned_box() -> None:
    corners = box_corners(np.array([[1.0, 2, 3]]), np.array([[2.0, 4, 6]]), np.array([np.pi / 2]))[0]
    np.testing.assert_allclose(corners.min(axis=0), [-1, 1, 0], atol=1e-9)
    np.testing.assert_allclose(corners.max(axis=0), [3, 3, 6], atol=1e-9)


def _random_scene(seed: int) -> tuple[Sweep, Cuboids, Cuboids]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 12))
    rows, rows_next = [], []
    for m in range(count):
        size = rng.uniform(0.5, 6, 3)
        position, yaw = rng.uniform(-8, 8, 3), rng.uniform(-7, 7)
        rows.append((f"t{m}", rng.choice(["Car", "Bus", "Cones"]), position, size, yaw, rng.integers(-1, 2)))
        if rng.random() < 0.8:
            moved = position + rng.choice([0, 1]) * rng.normal(size=3)
            rows_next.append((f"t{m}", rows[-1][1], moved, size, yaw + rng.choice([0, 1]) * rng.normal(), rows[-1][5]))
    sweep = make_sweep(rng.uniform(-10, 10, (400, 3)), list(rng.integers(0, 2, 400)))
    return sweep, make_cuboids(*rows), make_cuboids(*rows_next[::-1], frame=1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_random_scenes_against_the_plain_twin(seed: int) -> None:
    _same(flow_ground_truth(*_random_scene(seed)), plain_flow(*_random_scene(seed)))


@pytest.mark.parametrize("far", [600.0, 5e4])
def test_boxes_far_apart_against_the_plain_twin(far: float) -> None:
    """The grid on the ground has a bounded number of cells, whatever the boxes' distance."""
    sweep, now, later = _random_scene(7)
    places = np.array([[0, 0, 0], [far, 0, 0], [0, -far, 0]])
    now = dataclasses.replace(now, position=now.position + places[np.arange(len(now.track)) % 3])
    sweep = make_sweep((places[:, None] + sweep.points).reshape(-1, 3), list(np.tile(sweep.sensor, 3)))
    result = flow_ground_truth(sweep, now, later)
    assert (result.cuboid.reshape(3, -1) >= 0).any(axis=1).all()
    _same(result, plain_flow(sweep, now, later))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(-3, 3), st.tuples(*[st.floats(-100, 100)] * 3))
def test_turning_and_shifting_the_world_turns_the_flow(seed: int, angle: float, shift: tuple) -> None:
    sweep, now, later = _random_scene(seed)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

    def moved(boxes: Cuboids) -> Cuboids:
        return dataclasses.replace(boxes, position=boxes.position @ turn.T + shift, yaw=boxes.yaw + angle)

    one = flow_ground_truth(sweep, now, later)
    two = flow_ground_truth(dataclasses.replace(sweep, points=sweep.points @ turn.T + shift), moved(now), moved(later))
    np.testing.assert_array_equal(two.cuboid, one.cuboid)
    np.testing.assert_array_equal(two.bucket, one.bucket)
    np.testing.assert_allclose(two.flow, one.flow @ turn.T, atol=1e-9)


def _same(fast: SceneFlow, slow: SceneFlow) -> None:
    np.testing.assert_array_equal(fast.cuboid, slow.cuboid)
    np.testing.assert_array_equal(fast.flow_class, slow.flow_class)
    np.testing.assert_array_equal(fast.bucket, slow.bucket)
    np.testing.assert_allclose(fast.flow, slow.flow, atol=1e-9)


@pytest.mark.parametrize("frame", [0, 17, 34])
def test_real_frames_against_the_plain_twin(frame: int) -> None:
    sweep, now, later = real_slice.sweep(frame), real_slice.cuboids(frame), real_slice.cuboids(frame + 1)
    result = flow_ground_truth(sweep, now, later)
    _same(result, plain_flow(sweep, now, later))
    counts = np.bincount(result.flow_class, minlength=4)
    assert counts[FD] > 5_000
    assert 0 < counts[IGNORED] < 1_000
    at_rest = now.stationary & np.isin(now.track, later.track)
    assert not moving_boxes(now, later)[at_rest].any()


def test_flow_brings_real_points_closer_to_the_next_sweep() -> None:
    """Independent of the boxes' own consistency: fast car points land nearer to the next sweep's points."""
    frame = 20
    sweep, later = real_slice.sweep(frame), real_slice.sweep(frame + 1)
    result = flow_ground_truth(sweep, real_slice.cuboids(frame), real_slice.cuboids(frame + 1))
    fast = (np.linalg.norm(result.flow, axis=1) > 0.5) & (sweep.sensor == 0)
    assert fast.sum() > 500
    tree = cKDTree(later.points[later.sensor == 0])
    still = np.median(tree.query(sweep.points[fast])[0])
    moved = np.median(tree.query(sweep.points[fast] + result.flow[fast])[0])
    assert moved < 0.6 * still
