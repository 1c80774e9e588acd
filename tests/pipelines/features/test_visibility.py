"""What a camera sees and sees clearly: hand-made walls, a plain twin, a ray-traced street, the real log."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.features.visibility import see, visible_and_clear
from pipelines.geometry.projection import Projection, project
from tests.support.logs import real_slice
from tests.support.scenes import ray_scene

WIDTH, HEIGHT = 400, 300
K = np.array([[1000.0, 0, 200], [0, 1000.0, 150], [0, 0, 1]])


def wall(depth: float, left: float, right: float, top: float, bottom: float, step: float) -> np.ndarray:
    """Points [N, 3] of a wall that faces the camera, spanned in pixels."""
    u, v = (grid.ravel() for grid in np.meshgrid(np.arange(left, right, step), np.arange(top, bottom, step)))
    return np.stack([(u - 200) / 1000 * depth, (v - 150) / 1000 * depth, np.full(len(u), depth)], axis=1)


def visible_points(found: Projection, K: np.ndarray, width: int, height: int) -> np.ndarray:
    return visible_and_clear(found, K, width, height)[0]


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


def plain_visible_and_clear(
    found: Projection, K: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The slow twin: every pair of points, angles by arctan2, one return kept a cell, no early way out."""
    place = found.uv / [K[0, 0], K[1, 1]]
    cell = np.floor(place / 0.003)
    kept: dict[tuple[float, float], int] = {}
    for row in range(len(place)):
        key = (cell[row, 0], cell[row, 1])
        if key not in kept or found.depth[row] < found.depth[kept[key]]:
            kept[key] = row
    others = np.array(sorted(kept.values()))
    rows = np.arange(len(place)) if rows is None else rows
    visible, clear = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for number, row in enumerate(rows):
        du, dv = (place[others] - place[row]).T
        road = 1.0 / (1.0 / found.depth[row] + np.maximum(dv, 0) / 1.5)
        nearer = found.depth[others] < road * 0.95 - 0.5
        around = nearer & (np.abs(du) <= 0.008) & (np.abs(dv) <= 0.03)
        octants = set((np.floor(np.arctan2(dv[around], du[around]) / (np.pi / 4)) % 8).astype(int))
        visible[number] = any(all((start + k) % 8 not in octants for k in range(4)) for start in range(8))
        clear[number] = visible[number] and not (nearer & (np.hypot(du, dv) <= 0.005)).any()
    return visible, clear


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
    fast = visible_and_clear(found, intrinsics, WIDTH, HEIGHT)
    np.testing.assert_array_equal(fast, plain_visible_and_clear(found, intrinsics))
    assert 0.02 < 1 - fast[0].mean() < 0.5
    assert 0.02 < (fast[0] & ~fast[1]).mean() < 0.5


@pytest.mark.parametrize("name", ["front", "back"])
def test_real_visibility_against_the_plain_twin(name: str) -> None:
    sweep, camera = real_slice.sweep(20), real_slice.camera(name, 20)
    seen = see(sweep, camera, real_slice.WIDTH, real_slice.HEIGHT)
    rows = np.arange(0, len(seen.visible), 31)
    fast = seen.visible[rows], seen.clear[rows]
    np.testing.assert_array_equal(fast, plain_visible_and_clear(seen.projection, camera.K, rows))
    assert 5 < (~fast[0]).sum() < len(rows) / 4
    assert 5 < (fast[0] & ~fast[1]).sum() < len(rows) / 4


@pytest.mark.parametrize(("pixels", "clear"), [(4.9, False), (5.1, True)])
def test_clear_means_no_nearer_return_within_five_milliradians(pixels: float, clear: bool) -> None:
    """Beside a wall, above it and diagonally; the focal length is 1000 pixels."""
    front = wall(5.0, 100, 201, 100, 201, 4)  # one return a cell; the last ones are at 200
    diagonal = 200 + pixels / np.sqrt(2)
    places = np.array([[200 + pixels, 148], [148, 100 - pixels], [diagonal, diagonal]])
    beside = np.column_stack([(places - [200, 150]) / 1000 * 20, np.full(3, 20.0)])
    found = project(np.concatenate([front, beside]), np.eye(4), K, WIDTH, HEIGHT)
    seen, plain = visible_and_clear(found, K, WIDTH, HEIGHT)
    assert seen.all()
    assert plain[: len(front)].all()  # the near side keeps its colour
    np.testing.assert_array_equal(plain[len(front) :], [clear] * 3)


def test_a_road_is_clear_however_flat_it_is_seen() -> None:
    depth = 1.6 / np.tan(np.radians(np.arange(0.8, 8, 0.1)))  # to 115 m: 5 m nearer 0.1 degrees below
    x, z = (grid.ravel() for grid in np.meshgrid(np.arange(-8, 8, 0.15), depth))
    found = project(np.stack([x, np.full(len(x), 1.6), z], axis=1), np.eye(4), K, WIDTH, HEIGHT)
    assert len(found.rows) > 1000
    assert visible_and_clear(found, K, WIDTH, HEIGHT)[1].all()


CAMERAS = {"narrow": (1970.0, (0, 0.75, -0.33)), "wide": (930.0, (0.3, 0.3, -0.5))}


@pytest.mark.parametrize(
    ("camera", "wrong_limit", "dropped_limit", "clear_wrong_limit", "clear_dropped_limit"),
    [("narrow", 0.010, 0.015, 0.0005, 0.065), ("wide", 0.011, 0.008, 0.0015, 0.042)],
)
def test_against_the_truth_of_a_ray_traced_street(
    camera: str, wrong_limit: float, dropped_limit: float, clear_wrong_limit: float, clear_dropped_limit: float
) -> None:
    """Visible keeps little of what the camera cannot see and nearly all it can; clear keeps next to nothing hidden."""
    total = np.zeros(6)
    for seed in range(3):
        low, high, points, cam2world, intrinsics = ray_scene.view(seed, *CAMERAS[camera])
        found = project(points, cam2world, intrinsics, 1920, 1080)
        truth = ray_scene.seen_from(cam2world[:3, 3], points, low, high)[found.rows]
        visible, clear = visible_and_clear(found, intrinsics, 1920, 1080)
        total += [len(truth), (~truth).sum(), (visible & ~truth).sum(), (truth & ~visible).sum(), 0, 0]
        total[4:] += [(clear & ~truth).sum(), (truth & ~clear).sum()]
    points_seen, hidden, wrong, dropped, clear_wrong, clear_dropped = total
    assert hidden > 0.025 * points_seen
    assert wrong < 0.25 * hidden
    assert wrong < wrong_limit * points_seen
    assert dropped < dropped_limit * points_seen
    assert clear_wrong < clear_wrong_limit * points_seen
    assert clear_dropped < clear_dropped_limit * points_seen


@pytest.mark.parametrize("camera", ["narrow", "wide"])
def test_clear_halves_the_wrong_colours_of_a_camera_that_is_a_little_turned(camera: str) -> None:
    """By 2.5 milliradians, the residual of a good calibration. Wrong: the pixel shows another depth, on no road."""
    counts = np.zeros(4)
    for seed in range(3):
        low, high, points, cam2world, intrinsics = ray_scene.view(seed, *CAMERAS[camera])
        found = project(points, cam2world, intrinsics, 1920, 1080)
        turn = np.random.default_rng(seed).uniform(0, 2 * np.pi)
        pixels = np.floor(found.uv) + 0.5 + 0.0025 * intrinsics[0, 0] * np.array([np.cos(turn), np.sin(turn)])
        shown = ray_scene.surface(cam2world, intrinsics, pixels, low, high)
        depth = shown[:, 1] - cam2world[1, 3]
        road = (shown[:, 2] < 0.05) & (points[found.rows, 2] < 0.05)
        wrong = ((depth < found.depth * 0.95 - 0.5) | (found.depth < depth * 0.95 - 0.5)) & ~road
        visible, clear = visible_and_clear(found, intrinsics, 1920, 1080)
        counts += [visible.sum(), (visible & wrong).sum(), clear.sum(), (clear & wrong).sum()]
    before, after = counts[1] / counts[0], counts[3] / counts[2]
    assert before > 0.025
    assert after < 0.55 * before
