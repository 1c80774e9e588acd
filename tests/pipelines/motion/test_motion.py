"""Motion of whole sweeps: what moves is found, what rests rests, and neither order nor place changes the answer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.motion import MotionConfig, MotionEstimator, MotionSweep, estimate_motion
from tests.support.scenes.lidar_scene import Thing, scan

FRAMES = 12
PARKED = Thing((12, -6), (4.5, 1.9, 1.5), yaw=0.3)
CAR = Thing((-12, 9), (4.5, 1.9, 1.5), velocity=(9.0, 0.0))
WALKER = Thing((-3, -8), (0.5, 0.5, 1.7), velocity=(0.0, 1.3))
TURNING = Thing((4, 13), (4.5, 1.9, 1.5), velocity=(-5.0, 0.0), yaw=np.pi, turn=0.7)


@cache
def street():
    sweeps, hits = scan([PARKED, CAR, WALKER, TURNING], FRAMES)
    return sweeps, hits, estimate_motion(sweeps)


def body(sweep: MotionSweep, hit: np.ndarray, row: int) -> np.ndarray:
    """Returns of a thing, its lowest 0.3 m left out."""
    return np.flatnonzero((hit == row) & (sweep.points[:, 2] > 0.3))


@pytest.mark.parametrize(("row", "thing", "within"), [(1, CAR, 0.5), (2, WALKER, 0.4)])
def test_the_velocity_of_a_car_and_of_a_pedestrian_is_found(row, thing, within):
    sweeps, hits, motions = street()
    for frame in range(3, FRAMES - 3):
        mine = body(sweeps[frame], hits[frame], row)
        error = np.linalg.norm(motions[frame].velocity[mine, :2] - thing.velocity, axis=1)
        assert len(mine) > 10
        assert np.median(error) < within, frame
        assert (motions[frame].confidence[mine] > 0).mean() > 0.9


def test_a_turning_car_turns():
    """Its ends move differently: a translation alone would be wrong at both."""
    sweeps, hits, motions = street()
    wrong, straight = [], []
    for frame in range(3, FRAMES - 3):
        mine = body(sweeps[frame], hits[frame], 3)
        points, times = sweeps[frame].points[mine], sweeps[frame].times[mine]
        centre, yaw = TURNING.pose(times)
        heading = yaw - TURNING.yaw
        true = np.stack([-5 * np.cos(heading), -5 * np.sin(heading)], -1)
        true[:, 0] -= TURNING.turn * (points[:, 1] - centre[:, 1])
        true[:, 1] += TURNING.turn * (points[:, 0] - centre[:, 0])
        wrong.append(np.linalg.norm(motions[frame].velocity[mine, :2] - true, axis=1).mean())
        straight.append(np.linalg.norm(true, axis=1).mean())
    assert np.median(wrong) < 0.2 * np.median(straight)


def test_what_stands_still_has_no_velocity():
    sweeps, hits, motions = street()
    for sweep, hit, motion in zip(sweeps, hits, motions, strict=True):
        still = (hit <= 0) & (sweep.points[:, 2] > 0.3)
        assert (np.abs(motion.velocity[still]).max(axis=1) == 0).mean() > 0.995
        assert not motion.static[np.abs(motion.velocity).max(axis=1) > 0].any()


def test_a_street_at_rest_is_at_rest_while_the_ego_drives():
    sweeps, _ = scan([PARKED, Thing((6, 20), (0.3, 0.3, 4))], 9, ego_speed=8.0)
    for motion in estimate_motion(sweeps):
        assert (np.abs(motion.velocity).max(axis=1) > 0).mean() < 1e-3


def test_the_ground_is_ground():
    sweeps, _, motions = street()
    for sweep, motion in zip(sweeps, motions, strict=True):
        flat = sweep.points[:, 2] < 0.1
        assert motion.ground[flat].mean() > 0.97
        assert motion.ground[sweep.points[:, 2] > 0.5].mean() < 0.01  # a wall whose foot nothing sees


def test_an_object_keeps_its_number_over_time():
    sweeps, hits, motions = street()
    names = [
        np.bincount(motions[f].cluster[body(sweeps[f], hits[f], 1)] + 1).argmax() - 1 for f in range(2, FRAMES - 2)
    ]
    assert len(set(names)) == 1
    assert names[0] >= 0
    others = np.concatenate([motions[5].cluster[hits[5] == row] for row in (0, 2, 3)])
    assert names[3] not in others


def test_a_thing_seen_in_one_sweep_only_has_no_verdict():
    sweeps, _ = scan([PARKED], 5)
    lone = np.random.default_rng(0).uniform([5, 5, 0.5], [6, 6, 1.5], (40, 3))
    old = sweeps[2]
    sweeps[2] = replace(
        old,
        points=np.concatenate([old.points, lone]),
        times=np.concatenate([old.times, np.full(40, old.time - 0.09)]),
        sensor=np.zeros(len(old.points) + 40, np.uint8),
    )
    motion = estimate_motion(sweeps)[2]
    assert (motion.confidence[-40:] == 0).all()
    assert (motion.velocity[-40:] == 0).all()
    assert not motion.static[-40:].any()


def test_the_order_of_the_points_does_not_matter():
    sweeps, _, motions = street()
    rng = np.random.default_rng(1)
    orders = [rng.permutation(len(sweep.points)) for sweep in sweeps]
    shuffled = [
        MotionSweep(s.time, s.ego2world, s.points[o], s.times[o], s.sensor[o])
        for s, o in zip(sweeps, orders, strict=True)
    ]
    for motion, other, order in zip(motions, estimate_motion(shuffled), orders, strict=True):
        for name in ("velocity", "confidence", "ground", "static"):
            assert np.array_equal(getattr(motion, name)[order], getattr(other, name)), name


def test_a_log_elsewhere_and_turned_moves_in_the_same_way():
    sweeps, hits, motions = street()
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = turn, [1000.3, -2000.7, 30.2]
    moved = [replace(s, ego2world=world @ s.ego2world, points=s.points @ turn.T + world[:3, 3]) for s in sweeps]
    for frame, other in enumerate(estimate_motion(moved)):
        if 3 <= frame < FRAMES - 3:
            back = other.velocity @ turn
            gap = np.linalg.norm(back - motions[frame].velocity, axis=1)
            assert np.median(gap[body(sweeps[frame], hits[frame], 1)]) < 0.4
            assert (gap > 0.5).mean() < 0.02


def test_a_frame_depends_on_the_sweeps_within_reach_only():
    config = MotionConfig(
        ground_offsets=(0,), persistence_offsets=(-1, 1), hops=(-1, 1), agree_hops=(-1, 1), clear_sweeps=1
    )
    sweeps, _, _ = street()
    whole = MotionEstimator(lambda frame: sweeps[frame], len(sweeps), config).motion(5)[0]
    low, high = 5 - config.reach, 5 + config.reach
    assert (low, high) == (0, 10)
    parts = sweeps[low : high + 1]
    alone = MotionEstimator(lambda frame: parts[frame], len(parts), config).motion(5 - low)[0]
    for name in ("velocity", "confidence", "ground", "static", "cluster"):
        assert np.array_equal(getattr(whole, name), getattr(alone, name)), name


def test_forgetting_changes_nothing():
    sweeps, _, _ = street()
    keeps = MotionEstimator(lambda frame: sweeps[frame], len(sweeps))
    forgets = MotionEstimator(lambda frame: sweeps[frame], len(sweeps))
    for frame in (4, 5):
        forgets.forget(99)
        (one, before), (two, other) = keeps.motion(frame), forgets.motion(frame)
        assert np.array_equal(one.velocity, two.velocity)
        assert np.array_equal(before, other)


def test_sweeps_out_of_order_are_refused():
    sweeps, _, _ = street()
    with pytest.raises(ValueError, match="sort the sweeps by time"):
        estimate_motion([sweeps[1], sweeps[0]])


def test_no_sweep_has_no_motion():
    assert estimate_motion([]) == ()
