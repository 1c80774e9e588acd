"""Moving masks: the outline against a ray through every pixel, the boxes' times, the real log."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.geometry.projection import project
from pipelines.ground_truth.annotation_times import annotation_times
from pipelines.ground_truth.masks import moving_mask
from pipelines.ground_truth.point_boxes import assign_points
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.sources.base import CameraFrame, Cuboids, Sweep
from store_schema.labels import FlowClass
from tests.support.logs import real_slice

WIDTH, HEIGHT = 64, 48
K = np.array([[50.0, 0, 31.3], [0, 50.0, 24.8], [0, 0, 1]])
LOOK_ALONG_Y = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])


def make_camera(time: float = 0.0) -> CameraFrame:
    return CameraFrame(0, "front_camera", time, LOOK_ALONG_Y, K, Path("none.jpg"))


def make_cuboids(*rows: tuple, frame: int = 0) -> Cuboids:
    """Rows of (track, position, size, yaw, sensor)."""
    return Cuboids(
        frame=frame,
        track=tuple(row[0] for row in rows),
        label=("Car",) * len(rows),
        position=np.array([row[1] for row in rows], float).reshape(-1, 3),
        size=np.array([row[2] for row in rows], float).reshape(-1, 3),
        yaw=np.array([row[3] for row in rows], float),
        stationary=np.zeros(len(rows), bool),
        sensor=np.array([row[4] for row in rows], np.int8),
    )


def ray_mask(position: np.ndarray, size: np.ndarray, yaw: float, near: float = 0.1) -> np.ndarray:
    """The slow twin: is there a depth z >= near at which the ray of a pixel's centre is inside the box?"""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    origin = (LOOK_ALONG_Y[:3, 3] - position) @ turn
    for row in range(HEIGHT):
        for column in range(WIDTH):
            ray = np.array([(column + 0.5 - K[0, 2]) / K[0, 0], (row + 0.5 - K[1, 2]) / K[1, 1], 1.0])
            along = LOOK_ALONG_Y[:3, :3] @ ray @ turn  # per metre of depth
            along = np.where(along == 0, 1e-300, along)
            one, two = (-size / 2 - origin) / along, (size / 2 - origin) / along
            enter, leave = np.minimum(one, two).max(), np.maximum(one, two).min()
            mask[row, column] = max(enter, near) <= leave
    return mask


def outline_differs(one: np.ndarray, two: np.ndarray) -> int:
    return int((one != two).sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_outline_against_a_ray_through_every_pixel(seed: int) -> None:
    """Boxes before, beside, around and partly behind the camera."""
    rng = np.random.default_rng(seed)
    position, size = rng.uniform([-4, -3, 0], [4, 12, 2.5], 3), rng.uniform(0.5, 5, 3)
    yaw = rng.uniform(-3, 3)
    boxes = make_cuboids(("a", position, size, yaw, -1))
    later = make_cuboids(("a", position + np.array([1, 0, 0]), size, yaw, -1), frame=1)
    mask = moving_mask(make_camera(), WIDTH, HEIGHT, boxes, later, 0.0, 0.1)
    # A pixel centre that an edge meets to 1e-12 may fall either way.
    assert outline_differs(mask, ray_mask(position, size, yaw)) <= 1


def test_a_box_around_the_camera_fills_the_image() -> None:
    boxes = make_cuboids(("a", (0, 0, 1.5), (6, 6, 6), 0, -1))
    later = make_cuboids(("a", (0, 1, 1.5), (6, 6, 6), 0, -1), frame=1)
    assert moving_mask(make_camera(), WIDTH, HEIGHT, boxes, later, 0.0, 0.1).all()


def test_behind_the_camera_leaves_no_mark() -> None:
    boxes = make_cuboids(("a", (0, -8, 1.5), (2, 4, 2), 0, -1))
    later = make_cuboids(("a", (0, -7, 1.5), (2, 4, 2), 0, -1), frame=1)
    assert not moving_mask(make_camera(), WIDTH, HEIGHT, boxes, later, 0.0, 0.1).any()


def test_only_moving_boxes_of_the_own_lidar_with_a_known_track() -> None:
    size, step = (2, 2, 2), np.array([0.5, 0, 0])
    places = {"own": (-4, 12, 1), "both": (-1, 12, 1), "sibling": (2, 12, 1), "still": (5, 12, 1), "gone": (-4, 12, 4)}
    sensors = {"own": 0, "both": -1, "sibling": 1, "still": 0, "gone": 0}
    boxes = make_cuboids(*[(name, place, size, 0, sensors[name]) for name, place in places.items()])
    later = make_cuboids(
        *[(n, np.add(p, step * (n != "still")), size, 0, sensors[n]) for n, p in places.items() if n != "gone"], frame=1
    )
    expected = ray_mask(np.array(places["own"]), np.array(size), 0) | ray_mask(
        np.array(places["both"]), np.array(size), 0
    )
    np.testing.assert_array_equal(moving_mask(make_camera(), WIDTH, HEIGHT, boxes, later, 0.0, 0.1), expected)
    of_one = ray_mask(np.array(places["sibling"]), np.array(size), 0) | ray_mask(
        np.array(places["both"]), np.array(size), 0
    )
    np.testing.assert_array_equal(moving_mask(make_camera(), WIDTH, HEIGHT, boxes, later, 0.0, 0.1, sensor=1), of_one)


@pytest.mark.parametrize("time", [-0.05, 0.0, 0.04, 0.1, 0.13])
def test_pose_at_the_camera_time(time: float) -> None:
    """Straight line in position, the short way round in yaw, also before and after the two frames."""
    start, end, size = np.array([-2, 9, 1.0]), np.array([1, 9.5, 1.0]), np.array([1.5, 3, 2.0])
    boxes = make_cuboids(("a", start, size, 3.0, -1))
    later = make_cuboids(("a", end, size, -3.0, -1), frame=1)
    share = time / 0.1
    expected = ray_mask(start + share * (end - start), size, 3.0 + share * (2 * np.pi - 6.0))
    mask = moving_mask(make_camera(time), WIDTH, HEIGHT, boxes, later, 0.0, 0.1)
    assert outline_differs(mask, expected) <= 1
    backwards = moving_mask(make_camera(time), WIDTH, HEIGHT, later, boxes, 0.1, 0.0)
    assert outline_differs(mask, backwards) <= 1


def test_box_times_shift_each_box() -> None:
    start, size = np.array([-2, 9, 1.0]), np.array([1.5, 3, 2.0])
    boxes = make_cuboids(("a", start, size, 0, -1))
    later = make_cuboids(("a", start + np.array([1, 0, 0]), size, 0, -1), frame=1)
    at_stamp = moving_mask(make_camera(-0.05), WIDTH, HEIGHT, boxes, later, 0.0, 0.1)
    np.testing.assert_array_equal(at_stamp, ray_mask(start - [0.5, 0, 0], size, 0))
    measured = moving_mask(make_camera(-0.05), WIDTH, HEIGHT, boxes, later, 0.0, 0.1, box_times=np.array([-0.05]))
    np.testing.assert_array_equal(measured, ray_mask(start, size, 0))


def test_annotation_times_are_those_of_the_boxes_points() -> None:
    boxes = make_cuboids(
        ("both", (0, 0, 0), (2, 2, 2), 0, -1),
        ("of0", (10, 0, 0), (2, 2, 2), 0, 0),
        ("of1", (10, 0, 0), (2, 2, 2), 0, 1),
        ("empty", (20, 0, 0), (2, 2, 2), 0, 0),
    )
    points = np.array([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [10, 0, 0], [10, 0, 0], [18, 0, 5], [0, 0, 0]], float)
    times = np.array([-0.05, -0.03, -0.06, -0.01, -0.02, -0.09, 0.5])
    sensor = np.array([0, 0, 0, 0, 1, 0, 1], np.uint8)
    sweep = Sweep(0, 0.0, points, np.zeros(7), times, sensor, np.zeros(7, np.uint8))
    cuboid, _ = assign_points(points, sensor, boxes)
    np.testing.assert_array_equal(annotation_times(sweep, boxes, cuboid), [-0.05, -0.01, -0.02, -0.09])
    nothing = dataclasses.replace(
        sweep, points=points[:0], times=times[:0], intensity=times[:0], sensor=sensor[:0], time=0.7
    )
    np.testing.assert_array_equal(annotation_times(nothing, boxes, cuboid[:0]), [0.7] * 4)


def test_same_stamp_is_refused() -> None:
    boxes = make_cuboids(("a", (0, 9, 1), (2, 2, 2), 0, -1))
    with pytest.raises(ValueError, match="same time"):
        moving_mask(make_camera(), WIDTH, HEIGHT, boxes, dataclasses.replace(boxes, frame=1), 0.1, 0.1)


def test_no_boxes_no_mask() -> None:
    mask = moving_mask(make_camera(), WIDTH, HEIGHT, make_cuboids(), make_cuboids(frame=1), 0.0, 0.1)
    assert mask.shape == (HEIGHT, WIDTH)
    assert not mask.any()


def test_real_boxes_are_true_when_the_lidar_passed_them() -> None:
    """Moving points, brought to the back camera's time by their own flow, fall into the mask only with box_times."""
    frame = 30
    sweep, now, later = real_slice.sweep(frame), real_slice.cuboids(frame), real_slice.cuboids(frame + 1)
    later_time = real_slice.sweep(frame + 1).time
    camera = real_slice.camera("back", frame)
    result = flow_ground_truth(sweep, now, later)
    moving = (result.flow_class == FlowClass.FOREGROUND_DYNAMIC) & (sweep.sensor == 0)
    velocity = result.flow[moving] / (later_time - sweep.time)
    carried = sweep.points[moving] + velocity * (camera.time - sweep.times[moving])[:, None]
    seen = project(carried, camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT)
    column, row = seen.uv.astype(int).T
    assert len(row) > 300
    arguments = (camera, real_slice.WIDTH, real_slice.HEIGHT, now, later, sweep.time, later_time)
    stamped = moving_mask(*arguments)
    measured = moving_mask(*arguments, box_times=annotation_times(sweep, now, result.cuboid))
    assert measured[row, column].mean() > 0.99
    assert measured[row, column].mean() > stamped[row, column].mean()
    assert 0 < measured.mean() < 0.5
