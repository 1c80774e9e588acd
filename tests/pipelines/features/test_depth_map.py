"""Sparse depth: by hand, and of the real log against a dictionary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.features.depth_map import sparse_depth
from pipelines.features.visibility import see
from pipelines.geometry.projection import project
from pipelines.sources.base import CameraFrame, Sweep
from tests.support.logs import real_slice

WIDTH, HEIGHT = 400, 300
K = np.array([[1000.0, 0, 200], [0, 1000.0, 150], [0, 0, 1]])


def make_sweep(points: np.ndarray) -> Sweep:
    count = len(points)
    return Sweep(0, 0.0, points, *np.zeros((2, count)), *np.zeros((2, count), np.uint8))


def make_camera() -> CameraFrame:
    return CameraFrame(0, "front_camera", 0.0, np.eye(4), K, Path("none.jpg"))


def test_nearest_return_of_each_pixel() -> None:
    points = np.array([[0, 0, 5.0], [0, 0, 3.0], [0.005, 0, 4.0], [0, 0, 3.0], [0, 0, -2.0], [50, 0, 1.0]])
    found = sparse_depth(see(make_sweep(points), make_camera(), WIDTH, HEIGHT))
    # u = 200 for the first, second and fourth (equally near: the first of them stays), 201 for the third.
    np.testing.assert_array_equal(found.pixel, [150 * 400 + 200, 150 * 400 + 201])
    np.testing.assert_array_equal(found.depth, [3.0, 4.0])
    np.testing.assert_array_equal(found.point, [1, 2])
    assert found.pixel.dtype == np.int32


def test_nothing_in_view() -> None:
    found = sparse_depth(see(make_sweep(np.array([[0, 0, -5.0]])), make_camera(), WIDTH, HEIGHT))
    assert len(found.pixel) == len(found.depth) == len(found.point) == len(found.visible) == 0


@pytest.mark.parametrize("name", ["front", "back"])
def test_real_depth_against_a_dictionary(name: str) -> None:
    sweep, camera = real_slice.sweep(20), real_slice.camera(name, 20)
    found = sparse_depth(see(sweep, camera, real_slice.WIDTH, real_slice.HEIGHT))
    seen = project(sweep.points, camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT)
    nearest: dict[int, tuple[float, int]] = {}
    for row, (u, v), depth in zip(seen.rows, seen.uv, seen.depth, strict=True):
        key = int(v) * real_slice.WIDTH + int(u)
        nearest[key] = min(nearest.get(key, (np.inf, -1)), (float(depth), int(row)))
    np.testing.assert_array_equal(found.pixel, sorted(nearest))
    np.testing.assert_array_equal(found.depth, [nearest[key][0] for key in sorted(nearest)])
    np.testing.assert_array_equal(found.point, [nearest[key][1] for key in sorted(nearest)])
    assert 0.8 < found.visible.mean() < 0.97
