"""Smoothed tracks: known curves, a plain twin by np.polyfit, and whether they fit real sweeps better."""

from __future__ import annotations

import dataclasses
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pipelines.geometry.projection import project
from pipelines.ground_truth.scene_flow import flow_ground_truth
from pipelines.ground_truth.track_smoothing import TrackMotion, smoothed_flow, smoothed_motion
from pipelines.sources.base import Cuboids
from store_schema.labels import FlowClass
from tests.pipelines.ground_truth.test_scene_flow import make_cuboids, make_sweep
from tests.support.logs import real_slice
from tests.support.logs.plain_ground_truth import box2world, homogeneous, plain_smoothed_motion

Window = list[tuple[float, Cuboids]]


def track_window(**tracks: dict[int, tuple[float, float, float, float]]) -> Window:
    """Frames of 0.1 s from tracks: frame -> x, y, z, yaw."""
    frames = sorted({frame for poses in tracks.values() for frame in poses})
    return [
        (
            0.1 * f,
            make_cuboids(
                *[(name, "Car", p[f][:3], (2, 4, 2), p[f][3], -1) for name, p in tracks.items() if f in p], frame=f
            ),
        )
        for f in frames
    ]


def random_window(seed: int) -> tuple[Window, int]:
    """Tracks that come, go, pause, jitter and turn through +-pi; uneven stamps, missing frames, shuffled rows."""
    rng = np.random.default_rng(seed)
    frames = [f for f in range(24) if rng.random() < 0.9]
    frame = int(rng.choice(frames))
    times = dict(zip(range(24), 500 + np.cumsum(rng.uniform(0.05, 0.2, 24)), strict=True))
    tracks: dict[str, dict] = {}
    for m in range(int(rng.integers(1, 6))):
        start, speed, bend = rng.uniform(-900, 900, 3), rng.normal(0, 15, 3), rng.normal(0, 4, 3)
        yaw, rate, keep = rng.uniform(-np.pi, np.pi), rng.normal(), rng.uniform(0.2, 1)
        for f in frames:
            if f == frame or rng.random() < keep:
                t = times[f] - 500
                turned = np.angle(np.exp(1j * (yaw + rate * t)))
                place = start + speed * t + bend * t * t + rng.normal(0, 0.1, 3)
                tracks.setdefault(f"t{m}", {})[f] = (*place, turned)
    window = []
    for f in frames:
        rows = [(name, "Car", p[f][:3], (2, 4, 2), p[f][3], -1) for name, p in tracks.items() if f in p]
        window.append((times[f], make_cuboids(*(rows[i] for i in rng.permutation(len(rows))), frame=f)))
    return window, frame


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31))
def test_against_polyfit(seed: int) -> None:
    window, frame = random_window(seed)
    motion = smoothed_motion(window, frame)
    step, turn, known = plain_smoothed_motion(window, frame)
    np.testing.assert_array_equal(motion.known, known)
    np.testing.assert_allclose(motion.step, step, atol=1e-8)
    np.testing.assert_allclose(motion.turn, turn, atol=1e-9)


def test_braking_in_a_bend_is_met_exactly() -> None:
    """Second degree in, the same out, whatever the place in the window; the yaw passes +-pi."""

    def pose(t: float) -> tuple[float, float, float, float]:
        return 5 + 12 * t - 3 * t * t, -40 + t * t, 0.2 * t, float(np.angle(np.exp(1j * (3.0 + 0.5 * t - 0.1 * t * t))))

    window = track_window(a={f: pose(0.1 * f) for f in range(12)})
    for frame in range(11):
        motion = smoothed_motion(window, frame)
        t = 0.1 * frame
        dt, dt2 = 0.1, (t + 0.1) ** 2 - t**2
        np.testing.assert_allclose(motion.step, [[12 * dt - 3 * dt2, dt2, 0.2 * dt]], atol=1e-12)
        np.testing.assert_allclose(motion.turn, [0.5 * dt - 0.1 * dt2], atol=1e-12)
        assert motion.known.all()


def test_at_rest_is_exactly_zero() -> None:
    place = (0.1 + 300, 0.7 - 1e3, 1 / 3, 2.7)
    window = track_window(still={f: place for f in range(15)}, other={f: (1.1 * f, 0, 0, 0.1 * f) for f in range(15)})
    for frame in range(14):
        motion = smoothed_motion(window, frame)
        assert (motion.step[0] == 0).all()
        assert motion.turn[0] == 0
        assert (motion.step[1] != 0).any()
        flow = smoothed_flow(make_sweep([place[:3]], frame=frame), window[frame][1], np.zeros(1, np.int32), motion)
        assert (flow == 0).all()


@pytest.mark.parametrize("held", [(4, 5), (3, 4, 5), (4, 5, 6), (0, 4, 5)])
def test_two_or_three_boxes_give_the_annotated_motion(held: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    poses = {f: tuple(rng.uniform(-1, 1, 4)) for f in held}
    motion = smoothed_motion(track_window(a=poses), 4)
    pair = np.subtract(poses[5], poses[4])
    np.testing.assert_allclose(np.append(motion.step, motion.turn), pair, atol=1e-12)


def test_boxes_that_slide_within_a_steady_drive_are_evened_out() -> None:
    """1 m a frame, annotated with a five-frame saw: pairs are up to 0.2 m off, the curve less than 0.06."""
    saw = np.tile([0, 0.1, 0.2, 0.1, -0.1], 5)
    window = track_window(a={f: (f + saw[f], 0, 0, 0) for f in range(25)})
    pairs = [window[f + 1][1].position[0, 0] - window[f][1].position[0, 0] for f in range(7, 17)]
    smooth = [smoothed_motion(window, f).step[0, 0] for f in range(7, 17)]
    assert np.abs(np.subtract(pairs, 1)).max() > 0.19
    assert np.abs(np.subtract(smooth, 1)).max() < 0.06


def test_a_track_is_fitted_alone() -> None:
    """A sibling of another uuid at the same place, or further tracks, change nothing."""
    rng = np.random.default_rng(2)
    a = {f: tuple(rng.uniform(-1, 1, 4)) for f in range(10)}
    b = {f: tuple(rng.uniform(-1, 1, 4)) for f in range(10)}
    alone, both = smoothed_motion(track_window(a=a), 4), smoothed_motion(track_window(b=b, a=a), 4)
    np.testing.assert_array_equal(both.step[1], alone.step[0])
    assert both.turn[1] == alone.turn[0]


def test_only_seven_frames_to_each_side_count() -> None:
    rng = np.random.default_rng(3)
    poses = {f: tuple(rng.uniform(-1, 1, 4)) for f in range(30)}
    full = smoothed_motion(track_window(a=poses), 15)
    cut = smoothed_motion(track_window(a={f: poses[f] for f in range(8, 23)}), 15)
    less = smoothed_motion(track_window(a={f: poses[f] for f in range(9, 23)}), 15)
    np.testing.assert_array_equal(full.step, cut.step)
    assert (full.step != less.step).any()


def test_without_a_next_box_nothing_is_known() -> None:
    poses = {f: (1.0 * f, 0, 0, 0) for f in range(10)}
    gap = {f: p for f, p in poses.items() if f != 5}
    motion = smoothed_motion(track_window(a=poses, b=gap), 4)
    np.testing.assert_array_equal(motion.known, [True, False])
    np.testing.assert_array_equal(motion.step[1], 0)
    for frame, window in ((9, track_window(a=poses)), (4, track_window(a=gap))):
        motion = smoothed_motion(window, frame)
        assert not motion.known.any()
        assert (motion.step == 0).all()
        assert motion.turn.tolist() == [0]


def test_flow_moves_points_rigidly_about_the_annotated_centre() -> None:
    rng = np.random.default_rng(4)
    boxes = make_cuboids(("a", "Car", (10, 5, 1), (2, 4, 2), 0.3, -1), ("b", "Car", (-10, 5, 1), (2, 4, 2), 0, -1))
    points = boxes.position[0] + rng.uniform(-1, 1, (6, 3))
    motion = TrackMotion(np.array([[1.0, 0.4, 0.1], [0, 0, 0]]), np.array([0.2, 0]), np.array([True, False]))
    flow = smoothed_flow(make_sweep(points), boxes, np.array([0, 0, 0, 0, 1, -1], np.int32), motion)
    later = box2world(boxes.position[0] + motion.step[0], 0.5)
    moved = homogeneous(points) @ (later @ np.linalg.inv(box2world(boxes.position[0], 0.3))).T
    np.testing.assert_allclose(flow[:4], moved[:4, :3] - points[:4], atol=1e-11)
    np.testing.assert_array_equal(flow[4:], 0)


def test_refusals() -> None:
    window = track_window(a={f: (0, 0, 0, 0) for f in range(4)})
    with pytest.raises(ValueError, match=r"frame 9 is not in the window of frames \[\]"):
        smoothed_motion(window[:2], 9)
    with pytest.raises(ValueError, match="ascending order"):
        smoothed_motion(window[::-1], 2)
    with pytest.raises(ValueError, match="ascending order"):
        smoothed_motion([(0.0, boxes) for _, boxes in window], 2)
    twice = dataclasses.replace(make_cuboids(*[("a", "Car", (0, 0, 0), (1, 1, 1), 0, -1)] * 2), frame=2)
    with pytest.raises(ValueError, match="more than once"):
        smoothed_motion([*window[:2], (0.2, twice)], 1)
    motion = smoothed_motion(window, 1)
    with pytest.raises(ValueError, match="2 points with 1 box rows, 1 boxes with 1 motions"):
        smoothed_flow(make_sweep(np.zeros((2, 3)), frame=1), window[1][1], np.zeros(1, np.int32), motion)


def real_window() -> Window:
    stamps = json.loads((real_slice.real_log() / "lidar/timestamps.json").read_text())
    return [(stamps[f] - stamps[0], real_slice.cuboids(f)) for f in range(36)]


@pytest.mark.parametrize("frame", [0, 3, 20, 34, 35])
def test_real_tracks_against_polyfit(frame: int) -> None:
    window = real_window()
    motion = smoothed_motion(window, frame)
    step, turn, known = plain_smoothed_motion(window, frame)
    np.testing.assert_array_equal(motion.known, known)
    np.testing.assert_allclose(motion.step, step, atol=1e-9)
    np.testing.assert_allclose(motion.turn, turn, atol=1e-10)
    assert known.any() == (frame < 35)
    still = window[frame][1].stationary & known
    assert (motion.step[still] == 0).all()
    assert (motion.turn[still] == 0).all()


@cache
def real_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Smoothed against annotated flow over the whole slice, spinning LiDAR, front camera's view.

    Returns [Q, 2] of dynamic points, error in m and in m/s; [R, 3] of objects with 50 such points and more in a pair:
    metres between the two mean motions, median distance to the next sweep's points after the annotated and after the
    smoothed motion.
    """
    window = real_window()
    errors, objects = [], []
    later = real_slice.sweep.__wrapped__(0)  # not kept: 36 of them are 250 MB
    for frame in range(35):
        sweep, later = later, real_slice.sweep.__wrapped__(frame + 1)
        boxes, boxes_next = window[frame][1], window[frame + 1][1]
        result = flow_ground_truth(sweep, boxes, boxes_next)
        smooth = smoothed_flow(sweep, boxes, result.cuboid, smoothed_motion(window, frame))
        camera = real_slice.camera("front", frame)
        seen = project(sweep.points, camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT).rows
        dynamic = seen[(result.flow_class[seen] == FlowClass.FOREGROUND_DYNAMIC) & (sweep.sensor[seen] == 0)]
        error = np.linalg.norm(smooth[dynamic] - result.flow[dynamic], axis=1)
        errors.append(np.stack([error, error / (later.time - sweep.time)], axis=1))
        measured = cKDTree(later.points[later.sensor == 0])
        for box in np.unique(result.cuboid[dynamic]):
            own = dynamic[result.cuboid[dynamic] == box]
            if len(own) >= 50:
                motions = result.flow[own], smooth[own]
                apart = np.linalg.norm(np.mean(motions[0] - motions[1], axis=0))
                objects.append([apart, *(np.median(measured.query(sweep.points[own] + m)[0]) for m in motions)])
    return np.concatenate(errors), np.array(objects)


def test_the_two_ground_truths_differ_by_the_annotations_noise() -> None:
    """What a perfect smooth prediction scores against the annotated flow: the floor of the dynamic metrics."""
    error, speed = real_pairs()[0].T
    assert len(error) == 59_145
    assert error.mean() == pytest.approx(0.048, abs=0.001)  # EPE of foreground dynamic, m
    assert np.sqrt((speed * speed).mean()) == pytest.approx(0.93, abs=0.01)  # V_RMSE, m/s


def test_where_they_differ_the_smoothed_flow_fits_the_next_sweep() -> None:
    """Independent of all boxes' consistency: distance of the moved points to those the LiDAR measured next."""
    apart, annotated, smooth = real_pairs()[1].T
    differ = apart > 0.15
    assert differ.sum() >= 20
    assert (smooth[differ] < annotated[differ]).all()
    assert smooth[differ].mean() < 0.5 * annotated[differ].mean()
    assert smooth[~differ].mean() < 1.02 * annotated[~differ].mean()  # and costs nothing elsewhere
