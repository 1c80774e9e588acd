"""The benchmark of motion: its figures are the evaluator's, and its peers find what is plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.motion import peers
from benchmarks.motion.cases import generated_case
from benchmarks.motion.scores import scored
from store_schema.labels import FlowClass


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    wall = np.stack([rng.uniform(-10, 10, 400), np.full(400, 8.0), rng.uniform(0.5, 2.5, 400)], 1)
    car = np.concatenate([
        np.stack([rng.uniform(-2, 2, 300), np.full(300, -0.9), rng.uniform(0.5, 1.5, 300)], 1),
        np.stack([np.full(150, 2.0), rng.uniform(-0.9, 0.9, 150), rng.uniform(0.5, 1.5, 150)], 1),
    ])  # fmt: skip
    return [np.concatenate([wall, car + np.array([0.8 * k, 0, 0])]) for k in (-1, 0, 1)]


def test_the_vote_finds_a_translation(clouds):
    flow = peers.vote(clouds[1], clouds[2])
    assert np.abs(flow[400:] - [0.8, 0, 0]).mean() < 0.05
    assert np.abs(flow[:400]).max() == 0


@pytest.mark.parametrize("method", ["fast_nsf", "floxels"])
def test_fits_leave_rest_for_the_translation(clouds, method):
    if method == "floxels":
        flow = peers.floxels(clouds, [-0.1, 0.0, 0.1], 1, 60)
    else:
        flow = peers.fast_nsf(clouds[1], clouds[2], 120)
    assert np.linalg.norm(flow[400:] - [0.8, 0, 0], axis=1).mean() < 0.5 * 0.8


def test_a_distance_field_is_the_distance():
    points = np.array([[1.05, 1.05, 1.05]])
    field = peers.DistanceField(points, np.zeros(3), np.full(3, 4.0), (0.1, 0.1, 0.1))
    asked = np.array([[1.0, 1.0, 3.0], [2.0, 1.0, 1.0]], np.float32)
    assert field(peers.torch.from_numpy(asked)).numpy() == pytest.approx([2.0, 1.0], abs=0.02)


def test_rest_makes_the_error_of_rest_and_the_truth_none():
    case = generated_case(0, 3, seed=5)
    rest = scored([case], lambda _, frame: np.zeros_like(case.truth[frame].flow))
    assert rest["epe_fd"] == pytest.approx(rest["epe_fd_rest"])
    assert rest["epe_bs"] == rest["false_speed_share"] == 0
    right = scored([case], lambda _, frame: case.truth[frame].flow)
    assert right["epe_3way"] == 0
    moving = sum(
        int(((t.flow_class == FlowClass.FOREGROUND_DYNAMIC) & t.in_view & (s.sensor == 0)).sum())
        for s, t in zip(case.sweeps, case.truth, strict=False)
    )
    assert rest["points_fd"] == moving > 0
