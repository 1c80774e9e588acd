"""Colours of lifted points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from benchmarks import colour
from pipelines.features.colour import colour_points
from pipelines.features.visibility import Sighting, see
from pipelines.geometry.projection import project
from pipelines.sources.base import CameraFrame, Sweep
from tests.support.logs import real_slice

K = np.array([[100.0, 0, 50], [0, 100.0, 40], [0, 0, 1]])
WIDTH, HEIGHT = 100, 80


def make_sweep(points: list | np.ndarray, times: list | float = 0.0) -> Sweep:
    points = np.asarray(points, float).reshape(-1, 3)
    count = len(points)
    times = np.broadcast_to(np.asarray(times, float), count).copy()
    return Sweep(0, 0.0, points, np.zeros(count), times, *np.zeros((2, count), np.uint8))


def make_camera(time: float = 0.0, shift: float = 0.0, name: str = "front_camera") -> CameraFrame:
    """A camera at (shift, 0, 0) that looks along +z."""
    cam2world = np.eye(4)
    cam2world[0, 3] = shift
    return CameraFrame(0, name, time, cam2world, K, Path("none.jpg"))


def seen_by(sweep: Sweep, *cameras: CameraFrame) -> list[Sighting]:
    return [see(sweep, camera, WIDTH, HEIGHT) for camera in cameras]


def plain_image(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


def test_colour_is_that_of_the_pixel() -> None:
    image = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint32).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
    points = [[0.104, -0.206, 1.0], [0, 0, -1.0], [9, 0, 1.0]]  # u = 60.4, v = 19.4; behind; beside the image
    sweep = make_sweep(points)
    colours = colour_points(sweep, seen_by(sweep, make_camera()), [image])
    np.testing.assert_array_equal(colours.rgb, [image[19, 60], [127] * 3, [127] * 3])
    np.testing.assert_array_equal(colours.camera, [0, -1, -1])


def test_nearest_in_time_wins_then_the_centre_then_the_first() -> None:
    images = [plain_image(10), plain_image(20), plain_image(30), plain_image(40)]
    cameras = [make_camera(-0.05), make_camera(0.03), make_camera(0.03, shift=1.0), make_camera(0.03)]
    # Before the second; before the third; in time nearest to the first.
    sweep = make_sweep([[0, 0, 5.0], [1, 0, 5.0], [0, 0, 5.0]], [0.0, 0.0, -0.04])
    colours = colour_points(sweep, seen_by(sweep, *cameras), images)
    np.testing.assert_array_equal(colours.camera, [1, 2, 0])
    np.testing.assert_array_equal(colours.rgb[:, 0], [20, 30, 10])


def test_a_point_behind_a_wall_takes_its_colour_from_the_camera_that_sees_it() -> None:
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(-1, 1, 0.0171), np.arange(-1, 1, 0.0173)))
    wall = np.stack([x, y, np.full(len(x), 5.0)], axis=1)  # 0.2 degrees between returns
    sweep = make_sweep(np.concatenate([wall, [[0, 0, 12.0]]]), 0.0)
    blocked, free = make_camera(0.0), make_camera(0.09, shift=5.0)
    one = colour_points(sweep, seen_by(sweep, blocked), [plain_image(10)])
    assert (one.camera[:-1] == 0).all()
    assert one.camera[-1] == -1
    assert (one.rgb[-1] == 127).all()
    two = colour_points(sweep, seen_by(sweep, blocked, free), [plain_image(10), plain_image(20)])
    assert two.camera[-1] == 1
    assert (two.rgb[-1] == 20).all()


def test_a_point_at_an_outline_takes_its_colour_from_a_camera_that_sees_it_clearly() -> None:
    """2 pixels of 100 beside a near wall are 20 milliradians, 0.4 pixels are 4."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(-1, 0, 0.0171), np.arange(-1, 1, 0.0173)))
    wall = np.stack([x, y, np.full(len(x), 5.0)], axis=1)
    edge = x.max() / 5
    sweep = make_sweep(np.concatenate([wall, [[(edge + 0.004) * 12, 0, 12.0], [(edge + 0.02) * 12, 0, 12.0]]]))
    near, free = make_camera(0.0), make_camera(0.09, shift=5.0)
    (seen,) = seen_by(sweep, near)
    assert seen.visible.all()
    one = colour_points(sweep, [seen], [plain_image(10)])
    np.testing.assert_array_equal(one.camera[-2:], [-1, 0])
    assert (one.rgb[-2] == 127).all()
    two = colour_points(sweep, seen_by(sweep, near, free), [plain_image(10), plain_image(20)])
    np.testing.assert_array_equal(two.camera[-2:], [1, 0])
    np.testing.assert_array_equal(two.rgb[-2:, 0], [20, 10])


def test_no_camera_and_no_point() -> None:
    colours = colour_points(make_sweep([[0, 0, 1.0]]), [], [])
    np.testing.assert_array_equal(colours.camera, [-1])
    nothing = make_sweep([])
    assert len(colour_points(nothing, seen_by(nothing, make_camera()), [plain_image(1)]).camera) == 0


def test_images_may_share_their_memory() -> None:
    """Each is done with before the next is asked for."""
    sweep = make_sweep([[0, 0, 5.0], [0, 0, 5.0]], [0.0, 0.1])
    image = plain_image(0)

    def decoded() -> Iterator[np.ndarray]:
        for value in (10, 20):
            image[:] = value
            yield image

    colours = colour_points(sweep, seen_by(sweep, make_camera(0.0), make_camera(0.1)), decoded())
    np.testing.assert_array_equal(colours.rgb[:, 0], [10, 20])


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((HEIGHT, WIDTH, 3)), np.zeros((HEIGHT, WIDTH - 1, 3), np.uint8)]
)
def test_an_image_unlike_the_projection_is_refused(image: np.ndarray) -> None:
    sweep = make_sweep([[0, 0, 1.0]])
    with pytest.raises(ValueError, match=r"front_camera.*\[80, 100, 3\] uint8, got"):
        colour_points(sweep, seen_by(sweep, make_camera()), [image])


@pytest.mark.parametrize("count", [0, 2])
def test_one_image_a_camera(count: int) -> None:
    sweep = make_sweep([[0, 0, 1.0]])
    with pytest.raises(ValueError, match="zip"):
        colour_points(sweep, seen_by(sweep, make_camera()), [plain_image(1)] * count)


@pytest.fixture(scope="module")
def real_colours() -> tuple:
    cameras = [real_slice.camera(name, 20) for name in real_slice.CAMERAS]
    images = [simplejpeg.decode_jpeg(camera.path.read_bytes()) for camera in cameras]
    sweep = real_slice.sweep(20)
    seen = [see(sweep, camera, real_slice.WIDTH, real_slice.HEIGHT) for camera in cameras]
    return sweep, cameras, colour_points(sweep, seen, images), images


def behind_in_cell(points: np.ndarray, camera: CameraFrame) -> tuple[np.ndarray, np.ndarray]:
    """Points [P] with a return > 5 % + 0.5 m nearer in their 8x8 pixel cell, and points [P] in the image."""
    seen = project(points, camera.cam2world, camera.K, real_slice.WIDTH, real_slice.HEIGHT)
    cell = (seen.uv // 8).astype(int) @ [1, 240]
    nearest = np.full(240 * 135, np.inf)
    np.minimum.at(nearest, cell, seen.depth)
    behind, inside = np.zeros((2, len(points)), bool)
    behind[seen.rows] = nearest[cell] < seen.depth * 0.95 - 0.5
    inside[seen.rows] = True
    return behind, inside


@pytest.mark.parametrize("frame", range(0, 36, 5))
def test_real_colours_come_from_cameras_that_see_the_point(frame: int) -> None:
    """The cell rule also hits far road in plain view, so its share does not go to 0 (1.2 to 1.9 % here)."""
    sweep, cameras = real_slice.sweep(frame), [real_slice.camera(name, frame) for name in real_slice.CAMERAS]
    sightings = [see(sweep, camera, real_slice.WIDTH, real_slice.HEIGHT) for camera in cameras]
    blank = np.zeros((real_slice.HEIGHT, real_slice.WIDTH, 3), np.uint8)
    colours = colour_points(sweep, sightings, [blank] * len(cameras))
    doubtful, in_an_image = 0, np.zeros(len(sweep.points), bool)
    for index, camera in enumerate(cameras):
        behind, inside = behind_in_cell(sweep.points, camera)
        doubtful += int((behind & (colours.camera == index)).sum())
        in_an_image |= inside
        assert inside[colours.camera == index].all()
    coloured = colours.camera >= 0
    assert doubtful < 0.02 * coloured.sum()
    assert (~coloured).mean() < 0.12
    assert not coloured[~in_an_image].any()


def test_the_benchmark_counts_the_same_doubtful_colours(real_colours: tuple) -> None:
    sweep, cameras, colours, _ = real_colours
    seen = [see(sweep, camera, real_slice.WIDTH, real_slice.HEIGHT) for camera in cameras]
    plain = [behind_in_cell(sweep.points, camera) for camera in cameras]
    ours = colour.our_camera(sweep, seen)
    np.testing.assert_array_equal(ours, colours.camera)
    front = colour.first_camera(len(sweep.points), seen, ["front_camera"])
    first = colour.first_camera(len(sweep.points), seen, [camera.camera for camera in cameras])
    inside = np.stack([cell[1] for cell in plain])
    np.testing.assert_array_equal(front, np.where(inside[1], 1, -1))
    np.testing.assert_array_equal(first, np.where(inside.any(axis=0), inside.argmax(axis=0), -1))
    for camera in (ours, front, first):
        doubtful = sum(int((cell[0] & (camera == index)).sum()) for index, cell in enumerate(plain))
        found = colour.shares(camera, seen)
        assert found.doubtful == doubtful / (camera >= 0).sum()
        assert found.uncoloured == (camera < 0).mean()
        assert found.uncoloured_in_image == (inside.any(axis=0) & (camera < 0)).sum() / inside.any(axis=0).sum()


def test_real_colours_are_the_pixels_of_their_camera(real_colours: tuple) -> None:
    sweep, cameras, colours, images = real_colours
    assert (colours.rgb[colours.camera < 0] == 127).all()
    for row in np.flatnonzero(colours.camera >= 0)[::5000]:
        camera, image = cameras[colours.camera[row]], images[colours.camera[row]]
        x, y, z = np.linalg.solve(camera.cam2world, [*sweep.points[row], 1.0])[:3]
        u, v = camera.K[0, 0] * x / z + camera.K[0, 2], camera.K[1, 1] * y / z + camera.K[1, 2]
        np.testing.assert_array_equal(colours.rgb[row], image[int(v), int(u)])
