"""Lifting a clip: what is kept, what it looks like, and that no label and no target pixel is read."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch

from flux4d.cameras.cameras import Cameras
from flux4d.gaussians import Gaussians
from flux4d.lift.scene import SceneConfig, lift_clip, lift_clip_with_counts
from flux4d.lift.sky import SkyConfig, fibonacci_sphere, sky_radius
from flux4d.reconstruct import reconstruct
from flux4d.render import render
from store_schema.clip import Clip, LiftedPoints
from store_schema.units import POSITION
from tests.support.scenes.toy import make_clip

NO_SKY = SkyConfig(enabled=False)
COARSE = SkyConfig(spacing=0.03)


def with_points(clip: Clip, **columns: Any) -> Clip:
    return replace(clip, points=replace(clip.points, **columns))


def equal(a: Gaussians, b: Gaussians) -> bool:
    ours, theirs = a.columns(), b.columns()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def background(clip: Clip, config: SkyConfig) -> Gaussians:
    scene = lift_clip(clip, SceneConfig(sky=config))
    return scene.select(scene.is_sky)


def test_every_point_becomes_its_gaussian() -> None:
    clip = make_clip()
    config = SceneConfig(crop_to_views=False, sky=NO_SKY, scale_factor=1.0, max_spread=None)
    scene = lift_clip(clip, config)
    points = clip.points
    assert len(scene) == len(points)
    np.testing.assert_array_equal(scene.means, POSITION.decode(POSITION.encode(points.means)))
    np.testing.assert_allclose(scene.means, points.means, atol=POSITION.max_error + 1e-6)
    np.testing.assert_array_equal(scene.times, points.times)
    np.testing.assert_array_equal(scene.source, np.arange(len(points)))
    np.testing.assert_array_equal(scene.rgb, points.rgb.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(scene.scales, np.repeat(points.scales[:, None], 3, axis=1))
    assert scene.velocities.shape == (len(points), 1, 3)
    assert not scene.velocities.any()
    assert bool((scene.opacities == 0.5).all())
    assert not scene.is_sky.any()


def test_scales_are_clamped() -> None:
    clip = make_clip()
    scales = np.linspace(0, 51, len(clip.points)).astype(np.float32)
    config = SceneConfig(scale_factor=1.0, crop_to_views=False, sky=NO_SKY, min_scale=0.01, max_spread=None)
    scene = lift_clip(with_points(clip, scales=scales), config)
    assert float(scene.scales.min()) == pytest.approx(0.01)
    assert float(scene.scales.max()) == 1.0


def test_a_lone_return_is_no_larger_than_usual_at_its_distance() -> None:
    clip = make_clip()
    ratio = np.full(len(clip.points), 0.01)
    ratio[::10], ratio[1::10] = 0.5, 0.002  # lone ones; closer together than usual
    car = clip.ego2ego0[clip.points.frame, :3, 3]
    away = np.linalg.norm(clip.points.means - car, axis=1)
    clip = with_points(clip, scales=(ratio * away).astype(np.float32))
    config = SceneConfig(scale_factor=1.0, crop_to_views=False, sky=NO_SKY, max_scale=1e3, max_spread=2.0)
    np.testing.assert_allclose(lift_clip(clip, config).scales[:, 0].numpy() / away, np.minimum(ratio, 0.02), rtol=1e-5)
    uncut = lift_clip(clip, replace(config, max_spread=None))
    np.testing.assert_allclose(uncut.scales[:, 0].numpy() / away, ratio, rtol=1e-5)
    with pytest.raises(ValueError, match=r"max_spread=0\.0"):
        SceneConfig(max_spread=0.0)


def test_returns_of_the_own_car_are_left_out() -> None:
    clip = make_clip()
    means, frame = clip.points.means.copy(), clip.points.frame
    moved = []
    for view in clip.views:
        pose = view.cam2ego0.copy()
        pose[1, 3] += 0.5 * view.frame  # 5 m/s
        moved.append(replace(view, cam2ego0=pose))
    clip = replace(clip, views=tuple(moved))
    views = {view.frame: view.cam2ego0[:3, 3] for view in clip.views}
    near, ahead = np.flatnonzero(frame == 0)[:5], np.flatnonzero(frame == 0)[5:8]
    means[near] = views[0] + np.array([0, 1.4, 0])
    means[ahead] = views[10] + np.array([0, 0.5, 0])  # a car ahead, where the camera is a second later
    clip = with_points(clip, means=means.astype(np.float32))
    config = SceneConfig(sky=NO_SKY, crop_to_views=False)
    scene, counts = lift_clip_with_counts(clip, config)
    assert sorted(set(range(len(means))) - set(scene.source.tolist())) == near.tolist()
    assert (counts.too_near, counts.kept) == (5, len(means) - 5)
    everything = lift_clip(clip, SceneConfig(sky=NO_SKY, crop_to_views=False, camera_clearance=0.0))
    assert len(everything) == len(means)
    with pytest.raises(ValueError, match="camera_clearance=-1"):
        SceneConfig(camera_clearance=-1.0)


def test_colours_are_brought_to_the_exposure_of_the_own_camera() -> None:
    clip = make_clip()
    rng = np.random.default_rng(0)
    count = len(clip.points)
    true = rng.integers(60, 200, (count // 2, 3))
    means = np.concatenate([clip.points.means[: count // 2]] * 2)  # every surface seen by two cameras
    camera = np.repeat([0, 1], count // 2).astype(np.int8)
    rgb = np.concatenate([true, true * 0.8]).round().astype(np.uint8)
    camera[-3:], rgb[-3:] = -1, 127
    other = "left_camera" if clip.view_cameras != ("left_camera",) else "back_camera"
    clip = replace(with_points(clip, means=means, camera=camera, rgb=rgb), rig_cameras=(*clip.view_cameras, other))
    config = SceneConfig(sky=NO_SKY, crop_to_views=False, uncoloured="grey")
    plain, level = (lift_clip(clip, replace(config, level_cameras=choice)).rgb.numpy() for choice in (False, True))
    np.testing.assert_array_equal(level[: count // 2], plain[: count // 2])
    seen = slice(count // 2, count - 3)
    np.testing.assert_allclose(level[seen], true[:-3] / 255, atol=0.02)
    assert np.abs(plain[seen] - true[:-3] / 255).min() > 0.03
    np.testing.assert_array_equal(level[-3:], plain[-3:])
    with pytest.raises(ValueError, match="views of 2 cameras: level_cameras"):
        lift_clip(replace(clip, view_cameras=(*clip.view_cameras, other)), replace(config, level_cameras=True))


def test_crop_drops_only_what_no_view_sees() -> None:
    clip = make_clip()
    count = len(clip.points)
    means, in_view = clip.points.means.copy(), np.ones(count, bool)
    means[:100, 1] *= -1  # behind the camera
    in_view[:100] = False
    means[100:110] = [200.0, 5.0, 1.0]  # far to the side
    in_view[100:110] = False
    in_view[110:120] = False  # not seen at its own time, but inside the image
    scene, counts = lift_clip_with_counts(with_points(clip, means=means, in_view=in_view), SceneConfig(sky=NO_SKY))
    assert scene.source.tolist() == list(range(110, count))
    assert (counts.points, counts.cropped, counts.kept) == (count, 110, count - 110)


def test_subset_is_reported_and_depends_on_seed_and_clip_only(caplog: pytest.LogCaptureFixture) -> None:
    clip = make_clip()
    config = SceneConfig(max_gaussians=200, sky=NO_SKY, scale_factor=1.0, max_spread=None)
    with caplog.at_level(logging.WARNING, logger="flux4d.lift.scene"):
        scene, counts = lift_clip_with_counts(clip, config)
    assert "max_gaussians keeps 200" in caplog.text
    assert (counts.kept, counts.capped) == (200, len(clip.points) - 200)
    assert equal(scene, lift_clip(clip, config))
    assert bool((scene.source.diff() > 0).all())
    np.testing.assert_allclose(scene.scales[0, 0], 0.15 * (len(clip.points) / 200) ** 0.5, rtol=1e-5)
    assert not torch.equal(scene.source, lift_clip(clip, replace(config, seed=1)).source)
    renamed = replace(clip, record=replace(clip.record, clip_id="toy-other-s000"))
    assert not torch.equal(scene.source, lift_clip(renamed, config).source)


@pytest.mark.parametrize("choice", ["nearest", "grey", "drop"])
def test_points_without_a_colour(choice: Any) -> None:
    clip = make_clip()
    camera, rgb = clip.points.camera.copy(), clip.points.rgb.copy()
    blank = np.arange(0, len(camera), 7)
    camera[blank], rgb[blank] = -1, 127
    clip = with_points(clip, camera=camera, rgb=rgb)
    scene, counts = lift_clip_with_counts(clip, SceneConfig(uncoloured=choice, sky=NO_SKY))
    if choice == "drop":
        assert not np.isin(scene.source, blank).any()
        assert (counts.dropped_uncoloured, counts.recoloured) == (len(blank), 0)
        return
    assert (counts.dropped_uncoloured, counts.recoloured) == (0, len(blank))
    if choice == "grey":
        np.testing.assert_allclose(scene.rgb[blank], 127 / 255, atol=1e-6)
        return
    known = np.flatnonzero(camera >= 0)
    for row in blank[:20]:  # the plain twin
        nearest = known[np.linalg.norm(clip.points.means[known] - clip.points.means[row], axis=1).argmin()]
        np.testing.assert_allclose(scene.rgb[row], rgb[nearest] / 255.0, atol=1e-6)


def test_nearest_colour_needs_one() -> None:
    clip = make_clip()
    blind = with_points(clip, camera=np.full(len(clip.points), -1, np.int8))
    with pytest.raises(ValueError, match="no LiDAR point has a colour, use uncoloured='grey'"):
        lift_clip(blind, SceneConfig(sky=NO_SKY))


def test_labels_are_never_read() -> None:
    """Other labels, or no labels at all, give the same scene to the bit."""
    clip = make_clip()
    rng = np.random.default_rng(3)
    count = len(clip.points)
    other = with_points(
        clip,
        flow=rng.normal(size=(count, 3)).astype(np.float32),
        flow_class=rng.integers(0, 4, count).astype(np.uint8),
        bucket=rng.integers(0, 6, count).astype(np.uint8),
    )
    other = replace(other, boxes=None, views=tuple(replace(view, moving_mask=None) for view in other.views))
    assert equal(lift_clip(clip, SceneConfig(sky=COARSE)), lift_clip(other, SceneConfig(sky=COARSE)))


def test_labels_may_be_absent_objects() -> None:
    """Touching a label column at all fails."""

    class Forbidden(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("a label was read")

    clip = make_clip()
    poisoned = {name: getattr(clip.points, name).view(Forbidden) for name in ("flow", "flow_class", "bucket")}
    assert isinstance(with_points(clip, **poisoned).points, LiftedPoints)
    lift_clip(with_points(clip, **poisoned), SceneConfig(sky=COARSE))


def test_target_pixels_are_never_read() -> None:
    clip = make_clip()
    views = tuple(view if view.role == "input" else replace(view, image=b"not an image") for view in clip.views)
    assert equal(
        lift_clip(clip, SceneConfig(sky=COARSE)), lift_clip(replace(clip, views=views), SceneConfig(sky=COARSE))
    )


def test_fibonacci_sphere_is_even() -> None:
    directions = fibonacci_sphere(4000)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=1e-6)
    nearest = np.sort(directions[::37] @ directions.T, axis=1)[:, -2]
    gaps = np.arccos(nearest.clip(-1, 1))
    assert gaps.min() > 0.6 * np.median(gaps)
    assert gaps.max() < 1.4 * np.median(gaps)


def test_sky_lies_on_its_sphere_and_has_the_colours_of_the_input_images() -> None:
    clip = make_clip()
    sky = background(clip, SkyConfig(spacing=0.01))
    assert bool((sky.source == -1).all())
    assert sky.velocities.shape == (len(sky), 1, 3)
    radius = sky_radius(clip, SkyConfig())
    assert radius == 400.0  # four bounding boxes of the toy street are shorter
    centre = torch.from_numpy(clip.views[0].cam2ego0[:3, 3]).float()
    torch.testing.assert_close((sky.means - centre).norm(dim=1), torch.full((len(sky),), 400.0), rtol=1e-4, atol=1e-2)
    # Alone it renders the picture it was taken from, blurred: above the horizon that is a flat blue.
    view = clip.views[0]
    rendering = render(sky, Cameras.from_views([view]))
    assert float(rendering.alpha.min()) > 0.9
    truth = torch.from_numpy(simplejpeg.decode_jpeg(view.image)) / 255.0
    upper = slice(2, view.height // 2 - 8)
    assert float((rendering.rgb[0, upper] - truth[upper]).abs().mean()) < 0.05


def test_sky_follows_the_targets_beyond_the_input_views() -> None:
    """A direction only a target view sees is there, with a colour from the nearest direction of an input view."""
    clip = make_clip()
    turn = np.eye(4)
    angle = np.deg2rad(40.0)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    views = tuple(
        replace(view, cam2ego0=turn @ view.cam2ego0) if view.role == "future" else view for view in clip.views
    )
    narrow, wide = background(clip, COARSE), background(replace(clip, views=views), COARSE)
    assert len(wide) > 1.4 * len(narrow)
    target = next(view for view in views if view.role == "future")
    assert float(render(wide, Cameras.from_views([target])).alpha.min()) > 0.9


def test_sky_needs_an_input_view() -> None:
    clip = make_clip()
    with pytest.raises(ValueError, match="no input view"):
        lift_clip(replace(clip, views=clip.views_of("interpolation")), SceneConfig())


def test_sky_needs_a_direction_that_an_input_view_sees() -> None:
    clip = make_clip()
    back = np.diag([-1.0, -1.0, 1.0, 1.0])
    views = tuple(replace(view, cam2ego0=back @ view.cam2ego0) if view.role != "input" else view for view in clip.views)
    narrow = np.array([[1e5, 0, 48.0], [0, 1e5, 27.0], [0, 0, 1.0]])
    views = tuple(replace(view, K=narrow) if view.role == "input" else view for view in views)
    with pytest.raises(ValueError, match=r"no input view sees any of \d+ sky directions: use a smaller"):
        lift_clip(replace(clip, views=views), SceneConfig(sky=COARSE))


def test_empty_scene_is_an_error_and_sky_alone_is_not() -> None:
    clip = make_clip()
    nothing = replace(
        clip,
        points=LiftedPoints(**{field.name: getattr(clip.points, field.name)[:0] for field in fields(LiftedPoints)}),
    )
    with pytest.raises(ValueError, match="none of 0 LiDAR points is left"):
        lift_clip(nothing, SceneConfig(sky=NO_SKY))
    scene, counts = lift_clip_with_counts(nothing, SceneConfig(sky=COARSE))
    assert counts.kept == 0
    assert len(scene) == counts.sky > 0


def test_what_is_wrong_with_a_clip_names_it_once() -> None:
    clip = make_clip()
    clip_id = clip.record.clip_id
    far = clip.points.means.copy()
    far[7] = [3e6, 0, 0]
    times = clip.points.times.copy()
    times[7] = np.nan
    views = tuple(replace(view, image=b"torn") if view.frame == 2 else view for view in clip.views)
    singular = tuple(replace(view, cam2ego0=np.zeros((4, 4))) for view in clip.views)
    uncropped = SceneConfig(sky=NO_SKY, crop_to_views=False, camera_clearance=0.0)
    for broken, config, message in (
        (with_points(clip, means=far), uncropped, "position: values span"),
        (with_points(clip, times=times), uncropped, "time: 1 of"),
        (replace(clip, views=views), SceneConfig(sky=COARSE), "frame 2, front_camera: cannot decode the view"),
        (replace(clip, views=singular), SceneConfig(sky=COARSE), "Singular matrix"),
        (replace(clip, views=clip.views_of("future")), SceneConfig(sky=COARSE), "no input view: no colour"),
        (
            with_points(clip, camera=np.full(len(clip.points), -1, np.int8)),
            SceneConfig(),
            "no LiDAR point has a colour",
        ),
        (
            replace(clip, sweep_times=np.zeros(len(clip.sweep_times))),
            SceneConfig(sky=COARSE),
            "packed scene: duration=0",
        ),
    ):
        with pytest.raises(ValueError, match=f"^clip {clip_id}: {message}") as caught:
            lift_clip(broken, config)
        assert str(caught.value).count(clip_id) == 1


def test_unrefined_reconstruction_is_the_lift() -> None:
    clip = make_clip()
    config = SceneConfig(sky=COARSE)
    assert equal(reconstruct(clip, None, config), lift_clip(clip, config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_gaussians": 0}, "max_gaussians=0: use a positive number"),
        ({"crop_margin": -0.1}, "crop_margin=-0.1: use"),
        ({"uncoloured": "black"}, "uncoloured='black': use 'nearest'"),
        ({"initial_opacity": 1.0}, "initial_opacity=1.0: use"),
        ({"min_scale": 2.0}, "min_scale < max_scale"),
        ({"max_scale": 0.0}, "min_scale < max_scale"),
        ({"scale_factor": 0.0}, "scale_factor=0.0: use a positive number"),
    ],
)
def test_bad_settings_name_a_good_one(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneConfig(**change)


@pytest.mark.parametrize("change", [{"radius_factor": 0.0}, {"spacing": 1e-5}, {"opacity": 1.5}])
def test_bad_sky_settings_name_a_good_one(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"use .* instance"):
        SkyConfig(**change)
