"""Transforms and the pinhole projection: hand-computed pixels, plain twins, the real log."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.geometry.projection import project
from pipelines.geometry.rigid import invert_rigid, transform_points
from tests.support.logs import real_slice

K = np.array([[100.0, 0, 50.5], [0, 200.0, 40.25], [0, 0, 1]])


def rigid(seed: int) -> np.ndarray:
    """A random rotation (QR of a Gaussian matrix) and a translation of some hundred metres."""
    rng = np.random.default_rng(seed)
    rotation, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation = rotation * np.sign(np.diag(upper))
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, rng.uniform(-300, 300, 3)
    return out


def test_hand_computed_pixels() -> None:
    points = np.array([[0, 0, 2.0], [1, 0.5, 4.0], [0.1, 0.2, -1.0], [-1.01, 0, 2.0], [0.99, 0, 2.0], [0, 0, 0.05]])
    seen = project(points, np.eye(4), K, 100, 80)
    np.testing.assert_array_equal(seen.uv[0], [50.5, 40.25])
    np.testing.assert_array_equal(seen.uv[1], [100 / 4 + 50.5, 200 * 0.5 / 4 + 40.25])
    # Row 2 is behind the camera, 3 has u = 0 (column 0), 4 u = 100 (past the last column), 5 is before the near plane.
    np.testing.assert_array_equal(seen.rows, [0, 1, 3])
    np.testing.assert_array_equal(seen.depth, points[[0, 1, 3], 2])
    assert len(seen.uv) == 3


@pytest.mark.parametrize(("u", "inside"), [(-1e-9, False), (0.0, True), (99.999, True), (100.0, False)])
def test_image_spans_zero_to_width(u: float, inside: bool) -> None:
    intrinsics = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    for point in ([u, 5.0, 1.0], [5.0, u, 1.0]):
        assert len(project(np.array([point]), np.eye(4), intrinsics, 100, 100).rows) == inside


def test_skew_is_used() -> None:
    skewed = K.copy()
    skewed[0, 1] = 10.0
    seen = project(np.array([[0, 1.0, 2.0]]), np.eye(4), skewed, 100, 200)
    assert seen.uv[0, 0] == 50.5 + 10.0 / 2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_moving_camera_and_world_together_changes_nothing(seed: int, other: int) -> None:
    rng = np.random.default_rng(seed)
    cam2world, moved = rigid(seed), rigid(other)
    points = transform_points(cam2world, rng.uniform([-9, -9, -5], [9, 9, 40], (50, 3)))
    one = project(points, cam2world, K, 100, 80)
    two = project(transform_points(moved, points), moved @ cam2world, K, 100, 80)
    np.testing.assert_array_equal(two.rows, one.rows)
    np.testing.assert_allclose(two.depth, one.depth, atol=1e-9)
    np.testing.assert_allclose(two.uv, one.uv, rtol=1e-7, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_inverse_undoes_and_keeps_lengths(seed: int) -> None:
    a2b = rigid(seed)
    points = np.random.default_rng(seed).normal(size=(20, 3)) * 50
    moved = transform_points(a2b, points)
    np.testing.assert_allclose(transform_points(invert_rigid(a2b), moved), points, atol=1e-10)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(moved, axis=0), axis=1), np.linalg.norm(np.diff(points, axis=0), axis=1)
    )


def test_same_bits_as_separate_products_and_sums() -> None:
    """No fused multiply-add: the compiled loop gives the bits of numpy's single operations."""
    a2b = rigid(3)
    points = np.random.default_rng(3).normal(size=(5000, 3)) * 80
    x, y, z = points.T
    expected = np.stack([((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in a2b[:3]], axis=1)
    np.testing.assert_array_equal(transform_points(a2b, points), expected)


def test_refusals_say_why() -> None:
    mirror = np.diag([1.0, 1, -1, 1])
    with pytest.raises(ValueError, match="no rotation"):
        invert_rigid(mirror)
    with pytest.raises(ValueError, match="no rotation"):
        invert_rigid(np.diag([2.0, 2, 2, 1]))
    with pytest.raises(ValueError, match="finite 4x4"):
        transform_points(np.full((4, 4), np.nan), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"\[P, 3\]"):
        transform_points(np.eye(4), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="upper triangular"):
        project(np.zeros((1, 3)), np.eye(4), K.T, 100, 80)
    with pytest.raises(ValueError, match="near"):
        project(np.zeros((1, 3)), np.eye(4), K, 100, 80, near=0.0)


def test_no_points() -> None:
    seen = project(np.zeros((0, 3)), np.eye(4), K, 100, 80)
    assert seen.uv.shape == (0, 2)
    assert len(seen.depth) == len(seen.rows) == 0


@pytest.mark.parametrize("name", real_slice.CAMERAS)
def test_real_points_against_homogeneous_matrices(name: str) -> None:
    sweep, camera = real_slice.sweep(20), real_slice.camera(name, 20)
    seen = project(sweep.points, camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT)
    homogeneous = np.c_[sweep.points, np.ones(len(sweep.points))]
    local = np.linalg.solve(camera.cam2world, homogeneous.T)[:3]
    u, v, _ = camera.K @ (local / np.where(local[2] >= 0.1, local[2], np.nan))
    inside = (u >= 0) & (u < real_slice.WIDTH) & (v >= 0) & (v < real_slice.HEIGHT)
    np.testing.assert_array_equal(seen.rows, np.flatnonzero(inside))
    np.testing.assert_allclose(seen.depth, local[2, inside], atol=1e-10)
    np.testing.assert_allclose(seen.uv, np.stack([u, v], axis=1)[inside], rtol=1e-9, atol=1e-6)
    assert 20_000 < len(seen.rows) < 75_000


def test_a_real_car_lands_where_it_is_seen() -> None:
    """The white car right ahead in frame 30, by eye at columns 825..1055 and rows 510..715 of the image."""
    sweep, camera, boxes = real_slice.sweep(30), real_slice.camera("front", 30), real_slice.cuboids(30)
    seen = project(boxes.position, camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT)
    near = (np.abs(seen.uv[:, 0] - 940) < 60) & (seen.depth < 30) & (boxes.sensor[seen.rows] <= 0)
    assert near.sum() == 1
    inside = np.abs(sweep.points - boxes.position[seen.rows[near]]).max(axis=1) < 0.8
    pixels = project(sweep.points[inside], camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT).uv
    assert len(pixels) > 20
    assert pixels[:, 0].min() > 825
    assert pixels[:, 0].max() < 1055
    assert pixels[:, 1].min() > 510
    assert pixels[:, 1].max() < 715
