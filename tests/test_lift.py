"""Scales and colours of lifted points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lift import colour_points, knn_scale
from pipelines.projection import project
from pipelines.sources.base import CameraFrame, Sweep
from tests import real_slice

K = np.array([[100.0, 0, 50], [0, 100.0, 40], [0, 0, 1]])
WIDTH, HEIGHT = 100, 80


def plain_scale(points: np.ndarray, k: int) -> np.ndarray:
    """The slow twin: all pairs, positions that coincide counted once."""
    positions = np.unique(points, axis=0)
    distance = np.sqrt(((points[:, None] - positions[None]) ** 2).sum(axis=-1))
    return np.sort(distance, axis=1)[:, 1 : k + 1].mean(axis=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.booleans())
def test_scale_against_all_pairs(seed: int, k: int, duplicates: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 3)) * [10, 10, 1]
    if duplicates:
        points = np.concatenate([points, points[rng.integers(0, 60, 30)]])[rng.permutation(90)]
    np.testing.assert_allclose(knn_scale(points, k), plain_scale(points, k), rtol=1e-12)


def test_scale_by_hand() -> None:
    points = np.array([[0, 0, 0], [1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0], [0, 0, 100.0]])
    assert knn_scale(points)[0] == 2.0
    assert knn_scale(points, 1)[4] == 97.0


def test_coinciding_returns_do_not_give_scale_zero() -> None:
    points = np.repeat([[0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], 5, axis=0)
    assert (knn_scale(points)[:5] == 1.0).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((0, 3)), "at least 4 points"),
        (np.zeros((3, 3)), "at least 4 points"),
        (np.zeros((9, 3)), "different positions, got 1"),
        (np.full((9, 3), np.nan), "finite"),
        (np.zeros((9, 2)), r"\[P, 3\]"),
    ],
)
def test_too_little_is_refused(points: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn_scale(points)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(-3, 3), st.floats(0.1, 10))
def test_scale_turns_and_grows_with_the_world(seed: int, angle: float, factor: float) -> None:
    points = np.random.default_rng(seed).normal(size=(50, 3))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(knn_scale(points @ turn.T * factor + 7), knn_scale(points) * factor, rtol=1e-8)


def make_sweep(points: list | np.ndarray, times: list | float = 0.0) -> Sweep:
    points = np.asarray(points, float).reshape(-1, 3)
    count = len(points)
    times = np.broadcast_to(np.asarray(times, float), count).copy()
    return Sweep(0, 0.0, np.eye(4), points, np.zeros(count), times, np.zeros(count, np.uint8))


def make_camera(time: float = 0.0, shift: float = 0.0, name: str = "front_camera") -> CameraFrame:
    """A camera at (shift, 0, 0) that looks along +z."""
    cam2world = np.eye(4)
    cam2world[0, 3] = shift
    return CameraFrame(0, name, time, cam2world, K, Path("none.jpg"))


def plain_image(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


def test_colour_is_that_of_the_pixel() -> None:
    image = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint32).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
    points = [[0.104, -0.206, 1.0], [0, 0, -1.0], [9, 0, 1.0]]  # u = 60.4, v = 19.4; behind; beside the image
    colours = colour_points(make_sweep(points), [make_camera()], [image])
    np.testing.assert_array_equal(colours.rgb, [image[19, 60], [127] * 3, [127] * 3])
    np.testing.assert_array_equal(colours.camera, [0, -1, -1])


def test_nearest_in_time_wins_then_the_centre_then_the_first() -> None:
    images = [plain_image(10), plain_image(20), plain_image(30), plain_image(40)]
    cameras = [make_camera(-0.05), make_camera(0.03), make_camera(0.03, shift=1.0), make_camera(0.03)]
    # Before the second; before the third; in time nearest to the first.
    sweep = make_sweep([[0, 0, 5.0], [1, 0, 5.0], [0, 0, 5.0]], [0.0, 0.0, -0.04])
    colours = colour_points(sweep, cameras, images)
    np.testing.assert_array_equal(colours.camera, [1, 2, 0])
    np.testing.assert_array_equal(colours.rgb[:, 0], [20, 30, 10])


def test_a_point_behind_a_wall_takes_its_colour_from_the_camera_that_sees_it() -> None:
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(-1, 1, 0.0171), np.arange(-1, 1, 0.0173)))
    wall = np.stack([x, y, np.full(len(x), 5.0)], axis=1)  # 0.2 degrees between returns
    sweep = make_sweep(np.concatenate([wall, [[0, 0, 12.0]]]), 0.0)
    blocked, free = make_camera(0.0), make_camera(0.09, shift=5.0)
    one = colour_points(sweep, [blocked], [plain_image(10)])
    assert (one.camera[:-1] == 0).all()
    assert one.camera[-1] == -1
    assert (one.rgb[-1] == 127).all()
    two = colour_points(sweep, [blocked, free], [plain_image(10), plain_image(20)])
    assert two.camera[-1] == 1
    assert (two.rgb[-1] == 20).all()


def test_no_camera_and_no_point() -> None:
    colours = colour_points(make_sweep([[0, 0, 1.0]]), [], [])
    np.testing.assert_array_equal(colours.camera, [-1])
    assert len(colour_points(make_sweep([]), [make_camera()], [plain_image(1)]).camera) == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="1 cameras but 0 images"):
        colour_points(make_sweep([[0, 0, 1.0]]), [make_camera()], [])
    with pytest.raises(ValueError, match=r"front_camera.*\[H, W, 3\] uint8"):
        colour_points(make_sweep([[0, 0, 1.0]]), [make_camera()], [np.zeros((8, 8), np.uint8)])  # type: ignore[list-item]


@pytest.fixture(scope="module")
def real_colours() -> tuple:
    cameras = [real_slice.camera(name, 20) for name in real_slice.CAMERAS]
    images = [simplejpeg.decode_jpeg(camera.path.read_bytes()) for camera in cameras]
    return real_slice.sweep(20), cameras, colour_points(real_slice.sweep(20), cameras, images), images


def behind_in_cell(points: np.ndarray, camera: CameraFrame) -> tuple[np.ndarray, np.ndarray]:
    """Points [P] with a return > 5 % + 0.5 m nearer in their 8x8 pixel cell, and points [P] in the image."""
    seen = project(points, camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT)
    rows = np.flatnonzero(seen.inside)
    cell = (seen.uv[rows] // 8).astype(int) @ [1, 240]
    nearest = np.full(240 * 135, np.inf)
    np.minimum.at(nearest, cell, seen.depth[rows])
    behind = np.zeros(len(points), bool)
    behind[rows] = nearest[cell] < seen.depth[rows] * 0.95 - 0.5
    return behind, seen.inside


def test_real_colours_come_from_cameras_that_see_the_point(real_colours: tuple) -> None:
    """The cell rule also hits far road and outlines in plain view, so its share does not go to 0 (3 % here)."""
    sweep, cameras, colours, _ = real_colours
    doubtful, in_an_image = 0, np.zeros(len(sweep.points), bool)
    for index, camera in enumerate(cameras):
        behind, inside = behind_in_cell(sweep.points, camera)
        doubtful += int((behind & (colours.camera == index)).sum())
        in_an_image |= inside
        assert inside[colours.camera == index].all()
    coloured = colours.camera >= 0
    assert doubtful < 0.035 * coloured.sum()
    assert (~coloured).mean() < 0.12
    assert not coloured[~in_an_image].any()
    assert (colours.rgb[~coloured] == 127).all()


def test_real_colours_are_the_pixels_of_their_camera(real_colours: tuple) -> None:
    sweep, cameras, colours, images = real_colours
    for row in np.flatnonzero(colours.camera >= 0)[::5000]:
        camera, image = cameras[colours.camera[row]], images[colours.camera[row]]
        x, y, z = np.linalg.solve(camera.cam2world, [*sweep.points[row], 1.0])[:3]
        u, v = camera.K[0, 0] * x / z + camera.K[0, 2], camera.K[1, 1] * y / z + camera.K[1, 2]
        np.testing.assert_array_equal(colours.rgb[row], image[int(v), int(u)])


def test_real_scale_against_all_pairs_of_some_points() -> None:
    points = real_slice.sweep(20).points
    scale = knn_scale(points)
    for row in range(0, len(points), 6000):
        distance = np.sort(np.sqrt(((points - points[row]) ** 2).sum(axis=1)))
        np.testing.assert_allclose(scale[row], distance[1:4].mean(), rtol=1e-12)
