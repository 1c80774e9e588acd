"""The compiled parts of lifting against plain numpy and scipy, to the bit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from flux4d.cameras.frustum import inside, mark_seen, project
from flux4d.lift.nearest import _along_curve, _build, nearest
from flux4d.lift.points import clear_of_cameras, seen_by_views, spacing
from flux4d.lift.sky import SkyConfig, background, sky_radius
from store_schema.clip import Clip
from tests.support.logs.real_slice import HEIGHT, WIDTH, camera, ego2world, sweep
from tests.support.scenes.toy import make_clip


def brute_force(asked: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    offset = asked[:, None].astype(np.float64) - cloud[None].astype(np.float64)
    squared = offset[..., 0] ** 2 + offset[..., 1] ** 2 + offset[..., 2] ** 2
    return squared.argmin(axis=1)  # the first of several


@given(
    count=st.integers(1, 700),
    asked=st.integers(0, 40),
    seed=st.integers(0, 1000),
    shape=st.sampled_from(["even", "lattice", "clusters", "line", "one place"]),
)
def test_nearest_is_that_of_all_pairs(count: int, asked: int, seed: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count + asked, 3)) * 50
    if shape == "lattice":  # many at one distance, many in one place
        points = np.round(points / 25)
    elif shape == "clusters":
        points = np.round(points / 60) * 500 + points * 1e-3
    elif shape == "line":
        points[:, 1:] = 3.0
    elif shape == "one place":
        points[:] = -7.0
    points = points.astype(np.float32)
    cloud, far = points[:count], points[count:]
    np.testing.assert_array_equal(nearest(far, cloud), brute_force(far, cloud))
    np.testing.assert_array_equal(nearest(far + np.float32(3000), cloud), brute_force(far + np.float32(3000), cloud))


def test_of_several_at_one_distance_the_lowest_row_is_taken() -> None:
    """Corners and faces of cubes, each place many times over, in any order."""
    rng = np.random.default_rng(4)
    places = np.stack(np.meshgrid(*[np.arange(7.0)] * 3), axis=-1).reshape(-1, 3)
    cloud = rng.permutation(np.repeat(places, 5, axis=0)).astype(np.float32)
    asked = rng.permutation(np.concatenate([places, places + 0.5, places + np.array([0.5, 0, 0])])).astype(np.float32)
    away = np.square(asked[:, None].astype(float) - cloud[None]).sum(axis=2)
    tied = away == away.min(axis=1, keepdims=True)
    assert tied.sum(axis=1).min() >= 5
    assert tied.sum(axis=1).max() >= 40
    np.testing.assert_array_equal(nearest(asked, cloud), [np.flatnonzero(row)[0] for row in tied])


def leaves_to_open(asked: np.ndarray, cloud: np.ndarray) -> float:
    """Leaves that no search can pass over: their box is no farther than the nearest point. Mean over what is asked."""
    points, boxes, starts = _build(cloud, _along_curve(cloud))
    low, high = boxes[: starts[1], :3].astype(float), boxes[: starts[1], 3:].astype(float)
    away = np.square(asked - cloud[nearest(asked, cloud)].astype(float)).sum(axis=1)
    gaps = (np.square(np.maximum(np.maximum(low - p, p - high), 0.0)).sum(axis=1) for p in asked.astype(float))
    assert len(points) == len(cloud)
    return float(np.mean([np.sum(gap <= least) for gap, least in zip(gaps, away, strict=True)]))


@pytest.mark.parametrize("far", [[[2.1e6, 0, 0]], [[-2.1e6, 2.1e6, 5], [1e4, 0, 0]], [[3e38, 0, -3e38]], "a tenth"])
def test_far_points_do_not_make_the_search_one_of_all_pairs(far: Any) -> None:
    rng = np.random.default_rng(3)
    cloud = (rng.normal(size=(20_000, 3)) * [40, 40, 2]).astype(np.float32)
    asked = (rng.normal(size=(100, 3)) * [40, 40, 2]).astype(np.float32)
    usual = leaves_to_open(asked, cloud)
    far = rng.normal(size=(2000, 3)) * 10 + 2e6 if far == "a tenth" else np.array(far)
    stretched = rng.permutation(np.concatenate([cloud, far.astype(np.float32)]))
    assert usual < 20
    assert leaves_to_open(asked, stretched) < 1.5 * usual
    np.testing.assert_array_equal(nearest(asked, stretched), brute_force(asked, stretched))


def test_points_at_every_scale_are_searched_too() -> None:
    rng = np.random.default_rng(5)
    normal = rng.normal(size=(3000, 3))
    cloud = (normal / np.linalg.norm(normal, axis=1, keepdims=True) * 2.0 ** rng.uniform(-60, 60, (3000, 1))).astype(
        np.float32
    )
    asked = cloud[::7] * np.float32(1.1)
    np.testing.assert_array_equal(nearest(asked, cloud), brute_force(asked, cloud))
    assert leaves_to_open(asked[:100], cloud) < 80  # of 375


def test_nearest_needs_points_that_are_somewhere() -> None:
    one = np.zeros((1, 3), np.float32)
    with pytest.raises(ValueError, match="nearest of 0 points to 1 others"):
        nearest(one, one[:0])
    with pytest.raises(ValueError, match="must be finite"):
        nearest(one, one + np.float32(np.nan))


def test_nearest_of_a_real_sweep_is_scipys() -> None:
    points = sweep(0).points.astype(np.float32)
    blank = np.random.default_rng(0).random(len(points)) < 0.1
    asked, cloud = points[blank], points[~blank]
    expected, found = cKDTree(cloud).query(asked)[0], nearest(asked, cloud)
    offset = asked.astype(np.float64) - cloud[found]
    away = np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2 + offset[:, 2] ** 2)
    np.testing.assert_array_equal(away, expected)


def real_views(frames: tuple[int, ...]) -> list[Any]:
    """Poses of the front and back camera in the axes of the first sweep."""
    world2ego = np.linalg.inv(ego2world(0))
    shots = [camera(name, frame) for name in ("front", "back") for frame in frames]
    return [
        SimpleNamespace(
            frame=shot.frame,
            camera=shot.camera,
            name=shot.name,
            model=shot.model,
            time=shot.time,
            cam2ego0=world2ego @ shot.cam2world,
            K=shot.K,
            width=WIDTH,
            height=HEIGHT,
        )
        for shot in shots
    ]


@pytest.mark.parametrize("margin", [0.0, 0.15])
def test_points_that_views_see_are_those_of_the_plain_projection(margin: float) -> None:
    world2ego = np.linalg.inv(ego2world(0))
    points = (sweep(0).points @ world2ego[:3, :3].T + world2ego[:3, 3]).astype(np.float32)
    views = real_views((0, 8, 16))
    start = np.arange(len(points)) % 50 == 0
    seen, plain = start.copy(), start.copy()
    mark_seen(points, views, margin, seen)
    for view in views:
        plain |= inside(*project(points, view), view, margin)
    np.testing.assert_array_equal(seen, plain)
    assert 0.2 < seen.mean() < 0.8
    mark_seen(points, [], margin, untouched := start.copy())
    np.testing.assert_array_equal(untouched, start)


def shaken(seed: int) -> Clip:
    """The toy clip with a car that moves and turns, and points all around it, some on a camera."""
    clip, rng = make_clip(), np.random.default_rng(seed)
    means = (rng.normal(size=clip.points.means.shape) * [15, 15, 2]).astype(np.float32)
    poses = clip.ego2ego0.copy()
    poses[:, :3, 3] += np.cumsum(rng.normal(size=(len(poses), 3)), axis=0)
    views = tuple(
        replace(view, cam2ego0=poses[view.frame] @ view.cam2ego0, camera=f"camera_{index % 2}")
        for index, view in enumerate(clip.views)
    )
    means[:20] = views[0].cam2ego0[:3, 3] + rng.normal(size=(20, 3))
    scales = rng.uniform(0.001, 2.0, len(means)).astype(np.float32)
    in_view = rng.random(len(means)) < 0.1
    points = replace(clip.points, means=means, scales=scales, in_view=in_view, camera=clip.points.camera.copy())
    return replace(clip, points=points, views=views, ego2ego0=poses)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_and_how_wide_it_is(seed: int) -> None:
    clip = shaken(seed)
    points = clip.points
    seen, clear = points.in_view.copy(), np.ones(len(points), bool)
    for view in clip.views:
        seen |= inside(*project(points.means, view), view, 0.15)
        own = np.flatnonzero(points.frame == view.frame)
        clear[own] &= np.linalg.norm(points.means[own] - view.cam2ego0[:3, 3], axis=1) >= 1.5
    np.testing.assert_array_equal(seen_by_views(clip, 0.15), seen)
    np.testing.assert_array_equal(clear_of_cameras(clip, 1.5), clear)
    assert 0 < (~clear).sum() < len(clear)
    assert clear_of_cameras(clip, 0.0).all()
    away = np.maximum(np.linalg.norm(points.means - clip.ego2ego0[points.frame, :3, 3], axis=1), 1e-3)
    cut = np.minimum(points.scales, 0.7 * np.median(points.scales / away) * away).astype(np.float32)
    rows = np.arange(3, len(points), 5)
    np.testing.assert_array_equal(spacing(clip, 0.7, rows), cut[rows])
    np.testing.assert_array_equal(spacing(clip, None, rows), points.scales[rows])


def test_points_of_a_frame_that_the_clip_does_not_have() -> None:
    clip = make_clip()
    frame = clip.points.frame.copy()
    frame[5] = 16
    with pytest.raises(ValueError, match="points of frames 0 to 16 in a clip of 16 frames"):
        spacing(replace(clip, points=replace(clip.points, frame=frame)), 1.0, np.arange(3))


def test_radius_is_that_of_the_bounding_box() -> None:
    clip = shaken(0)
    length = float(np.linalg.norm(clip.points.means.max(axis=0) - clip.points.means.min(axis=0)))
    assert sky_radius(clip, SkyConfig(min_radius=1.0, radius_factor=3.0)) == 3.0 * length


def test_sky_colours_are_the_median_of_the_input_images() -> None:
    """As numpy's nanmedian says, within the rounding of the packed colour."""
    clip, rng = make_clip(), np.random.default_rng(2)
    turn = np.array([[np.cos(0.1), 0, np.sin(0.1)], [0, 1, 0], [-np.sin(0.1), 0, np.cos(0.1)]])
    views = []
    for view in clip.views:
        pose = view.cam2ego0.copy()
        pose[:3, :3] = pose[:3, :3] @ np.linalg.matrix_power(turn, view.frame % 3)
        image = rng.integers(0, 256, (view.height, view.width, 3), np.uint8)
        views.append(replace(view, image=simplejpeg.encode_jpeg(image, quality=95), cam2ego0=pose))
    clip = replace(clip, views=tuple(views))
    sky = background(clip, SkyConfig(spacing=0.02))
    assert sky is not None
    samples = np.full((len(clip.views), len(sky.means), 3), np.nan)
    for row, view in enumerate(clip.views):
        if view.role == "input":
            pixels, depth = project(sky.means, view)
            seen = np.flatnonzero(inside(pixels, depth, view, 0.0))
            image = simplejpeg.decode_jpeg(
                view.image, min_width=view.width // 4, min_height=view.height // 4, min_factor=1
            )
            at = (pixels[seen] * [image.shape[1] / view.width, image.shape[0] / view.height]).astype(int)
            at = np.minimum(at, [image.shape[1] - 1, image.shape[0] - 1])
            samples[row, seen] = image[at[:, 1], at[:, 0]] / 255
    known = ~np.isnan(samples[:, :, 0]).all(axis=0)
    assert known.sum() > 100
    assert len({int(count) for count in (~np.isnan(samples[:, :, 0])).sum(axis=0)}) > 2
    expected = np.nanmedian(samples[:, known], axis=0)
    np.testing.assert_allclose(sky.rgb[known] / 65535, expected, atol=0.5001 / 65535)
