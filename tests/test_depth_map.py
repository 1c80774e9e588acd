"""Sparse depth and the visibility it shares with the colours: hand-made walls, a ray-traced street, the real log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.depth_map import sparse_depth
from pipelines.projection import Projection, project
from pipelines.sources.base import CameraFrame, Sweep
from pipelines.visibility import see, visible_points
from tests import ray_scene, real_slice

WIDTH, HEIGHT = 400, 300
K = np.array([[1000.0, 0, 200], [0, 1000.0, 150], [0, 0, 1]])


def make_sweep(points: np.ndarray) -> Sweep:
    count = len(points)
    return Sweep(0, 0.0, np.eye(4), points, np.zeros(count), np.zeros(count), np.zeros(count, np.uint8))


def make_camera() -> CameraFrame:
    return CameraFrame(0, "front_camera", 0.0, np.eye(4), K, Path("none.jpg"))


def wall(depth: float, left: float, right: float, top: float, bottom: float, step: float) -> np.ndarray:
    """Points [N, 3] of a wall that faces the camera, spanned in pixels."""
    u, v = (grid.ravel() for grid in np.meshgrid(np.arange(left, right, step), np.arange(top, bottom, step)))
    return np.stack([(u - 200) / 1000 * depth, (v - 150) / 1000 * depth, np.full(len(u), depth)], axis=1)


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


def test_a_wall_hides_what_is_behind_it_and_nothing_beside_it() -> None:
    front = wall(5.0, 100, 200, 100, 200, 3)
    behind = wall(20.0, 60, 240, 61, 240, 5)  # seen by the LiDAR over and through the front wall
    points = np.concatenate([front, behind])
    found = project(points, np.eye(4), K, WIDTH, HEIGHT)
    visible = visible_points(found, K, WIDTH, HEIGHT)
    assert visible[: len(front)].all()
    u, v = found.uv[len(front) :].T
    covered = (u > 101) & (u < 197) & (v > 101) & (v < 197)
    clear = (u < 99) | (u > 201) | (v < 99) | (v > 201)
    assert covered.sum() > 200
    assert clear.sum() > 500
    assert not visible[len(front) :][covered].any()
    assert visible[len(front) :][clear].all()


def test_ground_that_falls_away_stays_visible() -> None:
    """Rows of a road as a LiDAR sees them: the nearer rows lie on one side of each point only."""
    depth = 1.6 / np.tan(np.radians(np.arange(1.5, 8, 0.2)))  # 0.2 degrees a ring, 11 to 61 m
    x, z = (grid.ravel() for grid in np.meshgrid(np.arange(-8, 8, 0.15), depth))
    found = project(np.stack([x, np.full(len(x), 1.6), z], axis=1), np.eye(4), K, WIDTH, HEIGHT)
    assert len(found.rows) > 1000
    assert visible_points(found, K, WIDTH, HEIGHT).all()


@pytest.mark.parametrize(("behind", "hidden"), [(5.6, False), (5.9, True)])
def test_nearer_means_five_percent_and_half_a_metre(behind: float, hidden: bool) -> None:
    points = np.concatenate([wall(5.0, 180, 220, 130, 170, 2), wall(behind, 199, 200, 149, 150, 1)])
    found = project(points, np.eye(4), K, WIDTH, HEIGHT)
    assert visible_points(found, K, WIDTH, HEIGHT)[-1] != hidden


def plain_visible(found: Projection, K: np.ndarray) -> np.ndarray:
    """The slow twin: every pair of points, angles by arctan2, one return kept a cell, no early way out."""
    place = found.uv / [K[0, 0], K[1, 1]]
    cell = np.floor(place / 0.003)
    kept: dict[tuple[float, float], int] = {}
    for row in range(len(place)):
        key = (cell[row, 0], cell[row, 1])
        if key not in kept or found.depth[row] < found.depth[kept[key]]:
            kept[key] = row
    others = np.array(sorted(kept.values()))
    visible = np.zeros(len(place), bool)
    for row in range(len(place)):
        du, dv = (place[others] - place[row]).T
        road = 1.0 / (1.0 / found.depth[row] + np.maximum(dv, 0) / 1.5)
        nearer = (found.depth[others] < road * 0.95 - 0.5) & (np.abs(du) <= 0.008) & (np.abs(dv) <= 0.03)
        octants = set((np.floor(np.arctan2(dv[nearer], du[nearer]) / (np.pi / 4)) % 8).astype(int))
        visible[row] = any(all((start + k) % 8 not in octants for k in range(4)) for start in range(8))
    return visible


def test_a_speck_hides_nothing_on_the_road() -> None:
    """With the road below it, one stray return would close the ring around many road points."""
    depth = 1.6 / np.tan(np.radians(np.arange(1.5, 8, 0.2)))
    x, z = (grid.ravel() for grid in np.meshgrid(np.arange(-8, 8, 0.05), depth))
    road = np.stack([x, np.full(len(x), 1.6), z], axis=1)
    found = project(np.concatenate([road, [[0, 0.3, 4.0]]]), np.eye(4), K, WIDTH, HEIGHT)
    assert len(found.rows) > 1000
    assert visible_points(found, K, WIDTH, HEIGHT).all()


def test_the_corner_between_a_car_and_the_road_stays_visible() -> None:
    depth = 1.6 / np.tan(np.radians(np.arange(1.5, 20, 0.2)))
    x, z = (grid.ravel() for grid in np.meshgrid(np.arange(-3, 3, 0.02), depth))
    road = np.stack([x, np.full(len(x), 1.6), z], axis=1)
    road = road[(np.abs(x) > 0.5 * z / 10) | (z < 10)]  # the car stands 10 m ahead and shades what is behind it
    u, v = (grid.ravel() for grid in np.meshgrid(np.arange(-0.5, 0.5, 0.03), np.arange(0.4, 1.6, 0.03)))
    found = project(np.concatenate([road, np.stack([u, v, np.full(len(u), 10.0)], 1)]), np.eye(4), K, WIDTH, HEIGHT)
    assert visible_points(found, K, WIDTH, HEIGHT).mean() > 0.99


def test_visibility_does_not_depend_on_the_image_size() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([wall(5.0, 100, 200, 100, 200, 3), wall(20.0, 60, 240, 61, 240, 5)])
    points += rng.normal(size=points.shape) * 0.01
    one = visible_points(project(points, np.eye(4), K, WIDTH, HEIGHT), K, WIDTH, HEIGHT)
    larger = np.diag([4.0, 4.0, 1.0]) @ K
    two = visible_points(project(points, np.eye(4), larger, 4 * WIDTH, 4 * HEIGHT), larger, 4 * WIDTH, 4 * HEIGHT)
    np.testing.assert_array_equal(one, two)
    assert 0.2 < one.mean() < 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_visibility_against_the_plain_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    uv = rng.uniform([0, 0], [WIDTH, HEIGHT], (4000, 2))
    depth = rng.choice([5.0, 8.0, 20.0], 4000, p=[0.6, 0.2, 0.2]) * rng.uniform(0.9, 1.1, 4000)
    found = Projection(np.arange(4000), uv, depth)
    intrinsics = np.diag([1500.0, 1500.0, 1.0])
    fast = visible_points(found, intrinsics, WIDTH, HEIGHT)
    np.testing.assert_array_equal(fast, plain_visible(found, intrinsics))
    assert 0.02 < 1 - fast.mean() < 0.5


@pytest.mark.parametrize(
    ("focal", "baseline", "wrong_limit", "dropped_limit"),
    [(1970.0, (0, 0.75, -0.33), 0.010, 0.015), (930.0, (0.3, 0.3, -0.5), 0.011, 0.008)],
    ids=["narrow", "wide"],
)
def test_against_the_truth_of_a_ray_traced_street(
    focal: float, baseline: tuple, wrong_limit: float, dropped_limit: float
) -> None:
    """The filter removes most of what the camera cannot see and drops little of what it can."""
    total = np.zeros(4)
    for seed in range(3):
        low, high = ray_scene.street(np.random.default_rng(seed))
        lidar = np.array([0, 0, 2.2])
        points = ray_scene.scan(lidar, low, high)
        cam2world = np.eye(4)
        cam2world[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
        cam2world[:3, 3] = lidar + baseline
        intrinsics = np.array([[focal, 0, 960], [0, focal, 540], [0, 0, 1]])
        found = project(points, cam2world, intrinsics, 1920, 1080)
        truth = ray_scene.seen_from(cam2world[:3, 3], points, low, high)[found.rows]
        visible = visible_points(found, intrinsics, 1920, 1080)
        total += [len(truth), (~truth).sum(), (visible & ~truth).sum(), (truth & ~visible).sum()]
    points_seen, hidden, wrong, dropped = total
    assert hidden > 0.025 * points_seen
    assert wrong < 0.25 * hidden
    assert wrong < wrong_limit * points_seen
    assert dropped < dropped_limit * points_seen


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
