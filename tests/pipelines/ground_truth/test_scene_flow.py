"""Scene-flow ground truth: analytic motions, the box rules one by one, a plain twin on random scenes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pipelines.ground_truth.point_boxes import assign_points
from pipelines.ground_truth.scene_flow import SceneFlow, box_corners, moving_boxes
from pipelines.sources.base import Cuboids, Sweep
from store_schema.labels import Bucket, FlowClass
from store_schema.protocol import FlowRules
from tests.support.logs import real_slice
from tests.support.logs.pandaset_flow import pandaset_flow
from tests.support.logs.plain_ground_truth import plain_flow

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
        points=points,
        intensity=np.zeros(count),
        times=np.zeros(count),
        sensor=np.broadcast_to(np.asarray(sensor, np.uint8), count).copy(),
        agent=np.zeros(count, np.uint8),
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


CAR = ("a", "Car", (10, 5, 1), (2, 4, 2), 0.3, -1)


def test_turning_and_driving_box_against_the_analytic_motion() -> None:
    rng = np.random.default_rng(0)
    local = rng.uniform(-1, 1, (200, 3)) * [1, 2, 1]

    def place(position: tuple, yaw: float) -> np.ndarray:
        x, y, z = local.T
        return np.stack([np.cos(yaw) * x - np.sin(yaw) * y, np.sin(yaw) * x + np.cos(yaw) * y, z], 1) + position

    start, end = place((10, 5, 1), 0.3), place((10.4, 6.1, 1.05), 0.42)
    result = pandaset_flow(
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
    result = pandaset_flow(make_sweep([[10.1, 5.2, 1.3]]), make_cuboids(CAR), make_cuboids(CAR, frame=1))
    assert (result.flow == 0).all()
    assert result.flow_class[0] == FS


@pytest.mark.parametrize(("step", "expected"), [(0.0499, FS), (0.0501, FD)])
def test_five_centimetres_are_dynamic(step: float, expected: FlowClass) -> None:
    moved = ("a", "Car", (10, 5 + step, 1), (2, 4, 2), 0.3, -1)
    result = pandaset_flow(make_sweep([[10, 5, 1]]), make_cuboids(CAR), make_cuboids(moved, frame=1))
    assert result.flow_class[0] == expected


def test_dynamic_is_judged_per_point() -> None:
    """A box that turns on the spot: its centre is static, its far end is not."""
    turned = ("a", "Car", (10, 5, 1), (2, 4, 2), 0.35, -1)
    end = np.array([10, 5, 1]) + 1.9 * np.array([-np.sin(0.3), np.cos(0.3), 0])
    result = pandaset_flow(make_sweep([[10, 5, 1], end]), make_cuboids(CAR), make_cuboids(turned, frame=1))
    np.testing.assert_array_equal(result.flow_class, [FS, FD])
    np.testing.assert_array_equal(moving_boxes(make_cuboids(CAR), make_cuboids(turned, frame=1)), [True])


def test_smallest_box_wins_then_the_lowest_row() -> None:
    big = ("big", "Bus", (0, 0, 0), (4, 4, 4), 0, -1)
    small = ("small", "Pedestrian", (0, 0, 0), (1, 1, 1), 0, -1)
    twin = ("twin", "Car", (0, 0, 0), (1, 1, 1), 0, -1)
    boxes = make_cuboids(big, twin, small)
    result = pandaset_flow(make_sweep([[0, 0, 0], [1.5, 0, 0]]), boxes, dataclasses.replace(boxes, frame=1))
    np.testing.assert_array_equal(result.cuboid, [1, 0])
    np.testing.assert_array_equal(result.bucket, [Bucket.CAR, Bucket.OTHER_VEHICLES])


def test_siblings_serve_their_own_lidar_only() -> None:
    boxes = make_cuboids(
        ("of0", "Car", (0, 0, 0), (2, 4, 2), 0, 0),
        ("of1", "Car", (0, 1, 0), (2, 4, 2), 0, 1),
        ("both", "Car", (20, 0, 0), (2, 4, 2), 0, -1),
    )
    points = [[0, 0, 0], [0, 0, 0], [0, 2.9, 0], [0, -1.9, 0], [20, 0, 0], [20, 0, 0]]
    result = pandaset_flow(make_sweep(points, [0, 1, 0, 1, 0, 1]), boxes, dataclasses.replace(boxes, frame=1))
    np.testing.assert_array_equal(result.cuboid, [0, 1, -1, -1, 2, 2])
    np.testing.assert_array_equal(result.flow_class, [FS, FS, IGNORED, IGNORED, FS, FS])
    np.testing.assert_array_equal(result.bucket[2:4], [Bucket.OTHER, Bucket.OTHER])


def test_expansion_is_total_in_width_and_length_and_not_in_height() -> None:
    box = make_cuboids(("a", "Car", (0, 0, 0), (2, 6, 2), np.pi / 2, -1))  # heading turns to -x
    points = np.array([[-3.09, 0, 0], [-3.11, 0, 0], [0, 1.09, 0], [0, 1.11, 0], [0, 0, 0.99], [0, 0, 1.01]])
    sensor = np.zeros(6, np.uint8)
    np.testing.assert_array_equal(assign_points(points, sensor, box)[0], [-1, -1, -1, -1, 0, -1])
    grown, _ = assign_points(points, sensor, box, FlowRules(expand_m=0.2))
    np.testing.assert_array_equal(grown, [0, -1, 0, -1, 0, -1])


def test_smallest_is_meant_as_annotated() -> None:
    """The flat box is the smaller one as annotated and the larger one once both have grown."""
    flat, cube = ("flat", "Bus", (0, 0, 0), (0.1, 5, 2), 0, -1), ("cube", "Car", (0, 0, 0), (1, 1, 1.05), 0, -1)
    for rows, expected in (((flat, cube), 0), ((cube, flat), 1)):
        row, _ = assign_points(np.zeros((1, 3)), np.zeros(1, np.uint8), make_cuboids(*rows), FlowRules(expand_m=2))
        assert row[0] == expected


def test_last_box_in_the_list_wins() -> None:
    small = ("small", "Pedestrian", (0, 0, 0), (1, 1, 1), 0, -1)
    big = ("big", "Bus", (0, 0, 0), (4, 4, 4), 0, -1)
    for boxes in (make_cuboids(small, big), make_cuboids(big, small)):
        result = pandaset_flow(
            make_sweep([[0, 0, 0], [1.5, 0, 0]]), boxes, dataclasses.replace(boxes, frame=1), FlowRules(overlap="last")
        )
        np.testing.assert_array_equal(result.cuboid, [1, boxes.track.index("big")])
        assert result.bucket[0] == (Bucket.OTHER_VEHICLES if boxes.track[1] == "big" else Bucket.PEDESTRIAN)


def test_boxes_of_any_lidar() -> None:
    boxes = make_cuboids(("of0", "Car", (0, 0, 0), (2, 4, 2), 0, 0), ("of1", "Car", (0, 1, 0), (2, 4, 2), 0, 1))
    points = [[0, 2.9, 0], [0, -1.9, 0], [9, 9, 9]]
    arguments = make_sweep(points, [0, 1, 0]), boxes, dataclasses.replace(boxes, frame=1)
    own, of_any = pandaset_flow(*arguments), pandaset_flow(*arguments, FlowRules(lidars="any"))
    np.testing.assert_array_equal(own.flow_class, [IGNORED, IGNORED, BS])
    np.testing.assert_array_equal(of_any.cuboid, [1, 0, -1])
    np.testing.assert_array_equal(of_any.flow_class, [FS, FS, BS])


def test_a_box_of_the_other_lidar_never_hides_an_own_one() -> None:
    """Also where it comes first in the order of precedence."""
    boxes = make_cuboids(
        ("own", "Car", (0, 0, 0), (2, 4, 2), 0, 0), ("other", "Pedestrian", (0, 0, 0), (1, 1, 1), 0, 1)
    )
    for overlap in ("smallest", "last"):
        row, other_only = assign_points(np.zeros((1, 3)), np.zeros(1, np.uint8), boxes, FlowRules(overlap=overlap))
        assert row[0] == 0
        assert not other_only[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"expand_m": -0.1}, "expand_m must be finite and not negative"),
        ({"expand_m": float("nan")}, "expand_m must be finite"),
        ({"expand_m": float("inf")}, "expand_m must be finite"),
        ({"overlap": "first"}, "overlap must be one of .*'smallest', 'last'.*got 'first'"),
        ({"lidars": "both"}, "lidars must be one of .*'own', 'any'.*got 'both'"),
    ],
)
def test_rules_that_mean_nothing_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowRules(**wrong)


def test_missing_track_and_missing_frame_are_ignored() -> None:
    gone = ("b", "Cones", (20, 0, 1), (2, 2, 2), 0, -1)
    sweep = make_sweep([[10, 5, 1], [20, 0, 1], [50, 50, 0]])
    moved = make_cuboids(("a", "Car", (10, 6, 1), (2, 4, 2), 0.3, -1), frame=1)
    result = pandaset_flow(sweep, make_cuboids(CAR, gone), moved)
    np.testing.assert_array_equal(result.flow_class, [FD, IGNORED, BS])
    np.testing.assert_array_equal(result.cuboid, [0, 1, -1])
    np.testing.assert_array_equal(result.flow[1:], 0)
    np.testing.assert_array_equal(result.bucket, [Bucket.CAR, Bucket.OTHER, Bucket.BACKGROUND])
    np.testing.assert_array_equal(moving_boxes(make_cuboids(CAR, gone), moved), [True, False])
    last = pandaset_flow(sweep, make_cuboids(CAR, gone), None)
    assert (last.flow_class == IGNORED).all()
    assert (last.flow == 0).all()
    np.testing.assert_array_equal(last.cuboid, [0, 1, -1])


def test_empty_inputs() -> None:
    nothing = make_cuboids()
    result = pandaset_flow(make_sweep([[1, 2, 3]]), nothing, make_cuboids(frame=1))
    assert result.flow_class[0] == BS
    assert len(moving_boxes(nothing, make_cuboids(CAR, frame=1))) == 0
    assert len(pandaset_flow(make_sweep([]), make_cuboids(CAR), make_cuboids(CAR, frame=1)).flow) == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="frame 0 with cuboids of frame 3"):
        pandaset_flow(make_sweep([[0, 0, 0]]), make_cuboids(CAR, frame=3), None)
    with pytest.raises(ValueError, match="more than once"):
        pandaset_flow(make_sweep([[0, 0, 0]]), make_cuboids(CAR, CAR), make_cuboids(CAR, frame=1))


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


RULES = st.builds(
    FlowRules, st.sampled_from([0.0, 0.2, 3.0]), st.sampled_from(["smallest", "last"]), st.sampled_from(["own", "any"])
)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), RULES)
def test_random_scenes_against_the_plain_twin(seed: int, rules: FlowRules) -> None:
    _same(pandaset_flow(*_random_scene(seed), rules), plain_flow(*_random_scene(seed), rules))


@pytest.mark.parametrize("far", [600.0, 5e4])
def test_boxes_far_apart_against_the_plain_twin(far: float) -> None:
    """The grid on the ground has a bounded number of cells, whatever the boxes' distance."""
    sweep, now, later = _random_scene(7)
    places = np.array([[0, 0, 0], [far, 0, 0], [0, -far, 0]])
    now = dataclasses.replace(now, position=now.position + places[np.arange(len(now.track)) % 3])
    sweep = make_sweep((places[:, None] + sweep.points).reshape(-1, 3), list(np.tile(sweep.sensor, 3)))
    result = pandaset_flow(sweep, now, later)
    assert (result.cuboid.reshape(3, -1) >= 0).any(axis=1).all()
    _same(result, plain_flow(sweep, now, later))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(-3, 3), st.tuples(*[st.floats(-100, 100)] * 3))
def test_turning_and_shifting_the_world_turns_the_flow(seed: int, angle: float, shift: tuple) -> None:
    sweep, now, later = _random_scene(seed)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

    def moved(boxes: Cuboids) -> Cuboids:
        return dataclasses.replace(boxes, position=boxes.position @ turn.T + shift, yaw=boxes.yaw + angle)

    one = pandaset_flow(sweep, now, later)
    two = pandaset_flow(dataclasses.replace(sweep, points=sweep.points @ turn.T + shift), moved(now), moved(later))
    np.testing.assert_array_equal(two.cuboid, one.cuboid)
    np.testing.assert_array_equal(two.bucket, one.bucket)
    np.testing.assert_allclose(two.flow, one.flow @ turn.T, atol=1e-9)


def _same(fast: SceneFlow, slow: SceneFlow) -> None:
    np.testing.assert_array_equal(fast.cuboid, slow.cuboid)
    np.testing.assert_array_equal(fast.flow_class, slow.flow_class)
    np.testing.assert_array_equal(fast.bucket, slow.bucket)
    np.testing.assert_allclose(fast.flow, slow.flow, atol=1e-9)


def test_flow_brings_real_points_closer_to_the_next_sweep() -> None:
    """Independent of the boxes' own consistency: fast car points land nearer to the next sweep's points."""
    frame = 20
    sweep, later = real_slice.sweep(frame), real_slice.sweep(frame + 1)
    result = pandaset_flow(sweep, real_slice.cuboids(frame), real_slice.cuboids(frame + 1))
    fast = (np.linalg.norm(result.flow, axis=1) > 0.5) & (sweep.sensor == 0)
    assert fast.sum() > 500
    tree = cKDTree(later.points[later.sensor == 0])
    still = np.median(tree.query(sweep.points[fast])[0])
    moved = np.median(tree.query(sweep.points[fast] + result.flow[fast])[0])
    assert moved < 0.6 * still
