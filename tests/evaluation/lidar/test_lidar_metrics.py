"""LiDAR truth and scores against figures worked out by hand, plain loops and the real sweeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.lidar.metrics import chamfer_distance, score_sweep
from evaluation.lidar.rig import PANDAR64, is_of, off_beam
from evaluation.lidar.truth import RangeTruth, range_truth
from flux4d.lidar import SpinningLidar
from pipelines.geometry.rigid import interpolate_pose
from tests.support.logs import real_slice


def truth_of(ranges: list[list[float]], known: list[list[bool]] | None = None) -> RangeTruth:
    image = np.array(ranges, np.float32)
    return RangeTruth(
        range=image,
        returned=image > 0,
        known=np.ones(image.shape, bool) if known is None else np.array(known),
        points=0,
        off_beam=0,
        hidden=0,
    )


NONE = np.zeros((2, 3), bool)
AHEAD = np.broadcast_to([1.0, 0.0, 0.0], (2, 3, 3))


def test_figures_by_hand() -> None:
    truth = truth_of([[10, 20, 0], [5, 0, 7]], [[True, True, True], [True, True, False]])
    ranges = np.array([[11.0, 17.0, 3.0], [np.nan, 0.0, 100.0]])
    returned = np.array([[True, True, True], [False, False, True]])
    in_inputs = np.array([[True, True, True], [False, False, True]])
    scores = score_sweep(ranges, returned, truth, AHEAD, in_inputs)
    # Both return: errors 1 and 3. The last ray is not known, and its error of 93 m does not count.
    assert (scores.rays, scores.known_rays, scores.dropped_rays) == (2, 5, 2)
    assert scores.median_error == pytest.approx(2)
    assert scores.median_squared_error == pytest.approx(5)
    assert scores.mean_error == pytest.approx(2)
    assert scores.rmse == pytest.approx(math.sqrt(5))
    # Said to drop: (1, 0) wrongly and (1, 1) rightly; (0, 2) truly drops and is said to return.
    assert scores.drop_accuracy == pytest.approx(3 / 5)
    assert scores.drop_precision == pytest.approx(1 / 2)
    assert scores.drop_recall == pytest.approx(1 / 2)
    # Of those two (0, 2) alone came back in an input sweep, and is missed.
    assert (scores.drop_recall_hard, scores.dropped_rays_hard) == (0, 1)
    # Rendered 11, 17, 3 on a line; true 10, 20, 5: nearest 1, 3, 2 and 1, 3, 2.
    assert scores.chamfer == pytest.approx(2 + 2)
    assert scores.chamfer_points == (3, 3)


def test_hard_drops_by_hand() -> None:
    """Rays 0 to 3 drop; 0, 1 and 2 came back in an input sweep, 0 and 3 are said to drop. Ray 5 is not known."""
    truth = truth_of([[0, 0, 0], [0, 8, 0]], [[True, True, True], [True, True, False]])
    returned = np.array([[False, True, True], [False, True, False]])
    in_inputs = np.array([[True, True, True], [False, True, True]])
    scores = score_sweep(np.full((2, 3), 8.0), returned, truth, AHEAD, in_inputs)
    assert scores.drop_recall_hard == pytest.approx(1 / 3)
    assert scores.drop_recall == pytest.approx(1 / 2)
    assert (scores.dropped_rays_hard, scores.dropped_rays) == (3, 4)
    easy = score_sweep(np.full((2, 3), 8.0), returned, truth, AHEAD, NONE)
    assert (easy.drop_recall_hard, easy.dropped_rays_hard) == (None, 0)


def test_far_points_are_in_no_chamfer_distance() -> None:
    truth = truth_of([[10, 90, 0], [0, 0, 0]])
    ranges = np.array([[12.0, 12.5, 0], [0, 0, 0]])
    scores = score_sweep(ranges, ranges > 0, truth, AHEAD, NONE, chamfer_range=50)
    assert scores.chamfer_points == (2, 1)
    assert scores.chamfer == pytest.approx(2.25 + 2)
    assert scores.rmse == pytest.approx(math.sqrt((2**2 + 77.5**2) / 2))


def test_empty_sets_are_not_zero() -> None:
    none = np.zeros((2, 3))
    nothing = score_sweep(none, none > 0, truth_of([[0, 0, 0]] * 2), AHEAD, NONE)
    assert (nothing.rays, nothing.drop_accuracy, nothing.drop_recall, nothing.drop_precision) == (0, 1, 1, 1)
    found = nothing.median_error, nothing.median_squared_error, nothing.mean_error, nothing.rmse, nothing.chamfer
    assert found == (None,) * 5
    assert (nothing.drop_recall_hard, nothing.dropped_rays_hard) == (None, 0)
    all_back = score_sweep(none + 4, none == 0, truth_of([[4, 4, 4]] * 2), AHEAD, ~NONE)
    assert (all_back.drop_precision, all_back.drop_recall, all_back.drop_accuracy) == (None, None, 1)
    assert (all_back.rmse, all_back.chamfer) == (0, 0)
    assert (all_back.drop_recall_hard, all_back.dropped_rays_hard) == (None, 0)
    unknown = score_sweep(none, none > 0, truth_of([[4, 4, 4]] * 2, [[False] * 3] * 2), AHEAD, ~NONE)
    assert (unknown.drop_accuracy, unknown.known_rays) == (None, 0)


def test_wrong_input_is_said() -> None:
    truth = truth_of([[4, 4, 4]] * 2)
    with pytest.raises(ValueError, match="render its turn"):
        score_sweep(np.ones((3, 2)), np.ones((3, 2), bool), truth, AHEAD, NONE)
    with pytest.raises(ValueError, match=r"in_inputs \(1, 3\) .*render its turn"):
        score_sweep(np.ones((2, 3)), NONE, truth, AHEAD, NONE[:1])
    with pytest.raises(ValueError, match="not finite and positive"):
        score_sweep(np.full((2, 3), np.nan), np.ones((2, 3), bool), truth, AHEAD, NONE)
    with pytest.raises(ValueError, match="points must be"):
        range_truth(np.zeros((4, 3)), np.zeros(3), turn())
    with pytest.raises(ValueError, match="the turn of"):
        range_truth(np.ones((4, 3)), np.full(4, 1e9), turn())


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 30), m=st.integers(1, 30), seed=st.integers(0, 1000))
def test_chamfer_is_the_plain_double_loop(n: int, m: int, seed: int) -> None:
    g = np.random.default_rng(seed)
    a, b = g.normal(size=(n, 3)), g.normal(size=(m, 3))
    there = sum(min(math.dist(p, q) for q in b) for p in a) / n
    back = sum(min(math.dist(p, q) for p in a) for q in b) / m
    assert chamfer_distance(a, b) == pytest.approx(there + back)


def turn() -> SpinningLidar:
    begin, end = np.eye(4), np.eye(4)
    begin[:3, 3], end[:3, 3] = [3.0, -1.0, 2.0], [3.4, 0.5, 2.0]
    end[:2, :2] = [[math.cos(0.05), -math.sin(0.05)], [math.sin(0.05), math.cos(0.05)]]
    return PANDAR64.turn(begin, interpolate_pose(begin, end, 0.5), end, 0.7, columns=90)


def test_a_turn_goes_through_its_middle() -> None:
    lidar = turn()
    begin, end = lidar.lidar2world
    middle = interpolate_pose(begin, end, 0.5)
    np.testing.assert_allclose(lidar.poses(np.array(0.5)), middle, atol=1e-12)
    lifted = middle.copy()
    lifted[2, 3] += 0.1
    moved = PANDAR64.turn(begin, lifted, end, 0.7)
    np.testing.assert_allclose(moved.poses(np.array(0.5)), lifted, atol=1e-12)
    np.testing.assert_allclose(np.linalg.inv(moved.lidar2world[0]) @ moved.lidar2world[1], np.linalg.inv(begin) @ end)


def test_points_on_the_rays_come_back_as_their_ranges() -> None:
    lidar = turn()
    g = np.random.default_rng(0)
    ranges = np.where(g.random((64, 90)) < 0.8, g.uniform(0.5, 120, (64, 90)), 0)
    rows, columns = np.nonzero(ranges)
    points, times = lidar.points(ranges)[rows, columns], lidar.column_times()[columns]
    order = g.permutation(len(points))
    truth = range_truth(points[order], times[order], lidar)
    np.testing.assert_allclose(truth.range, ranges, atol=1e-4)
    np.testing.assert_array_equal(truth.returned, ranges > 0)
    np.testing.assert_array_equal(truth.known, (ranges == 0) | (ranges >= 2.0))
    assert (truth.points, truth.off_beam, truth.hidden) == (len(points), 0, 0)


def test_the_nearest_of_a_ray_counts_and_what_is_off_the_beams_does_not() -> None:
    lidar = turn()
    ranges = np.full((64, 90), 10.0)
    near, far, time = lidar.points(ranges)[30, 7], lidar.points(2 * ranges)[30, 7], lidar.column_times()[7]
    above = near + np.array([0, 0, 6.0])  # 29 degrees: 14 above the topmost beam
    truth = range_truth(np.stack([far, near, above]), np.full(3, time), lidar)
    assert truth.range[30, 7] == pytest.approx(10.0, abs=1e-4)
    assert (truth.hidden, truth.off_beam, int(truth.returned.sum())) == (1, 1, 1)


@pytest.mark.parametrize("frame", [4, 27])
def test_real_points_lie_on_their_beams(frame: int) -> None:
    """Nearly every ray of the road has one point, and the rays' own points are where the file has them."""
    lidar, points, times = real_turn(frame)
    truth = range_truth(points, times, lidar)
    assert truth.off_beam < 0.002 * truth.points
    assert truth.hidden < 0.005 * truth.points
    assert truth.returned[56:62].mean() > 0.98
    off = off_beam(points, times, lidar)
    assert is_of(off)
    assert np.degrees(np.median(off)) < 0.02  # beams are 0.167 degrees apart
    found = lidar.points(truth.range)[truth.returned]
    distance = chamfer_distance(found, points)
    assert distance is not None
    assert distance < 0.1


def real_turn(frame: int) -> tuple[SpinningLidar, np.ndarray, np.ndarray]:
    sweep = real_slice.sweep(frame)
    images = [real_slice.camera("front", frame + step) for step in (-1, 0, 1)]
    poses = [image.cam2world @ PANDAR64.lidar2camera for image in images]
    begin, middle, end = (
        interpolate_pose(poses[k], poses[k + 1], (time - images[k].time) / (images[k + 1].time - images[k].time))
        for k, time in ((0, sweep.time - PANDAR64.period), (1, sweep.time - PANDAR64.period / 2), (1, sweep.time))
    )
    mine = sweep.sensor == 0
    return PANDAR64.turn(begin, middle, end, sweep.time), sweep.points[mine], sweep.times[mine]
