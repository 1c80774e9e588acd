"""Rendering a moving scene: toy Gaussians, a far sky, and the points of a real sweep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flux4d.cameras.cameras import Cameras
from flux4d.gaussians import Gaussians
from flux4d.motion import move
from flux4d.render import render
from tests.support.logs import real_slice
from tests.support.scenes.rasterize_reference import brute_force
from tests.support.scenes.toy import make_clip

PARAMETERS = ("means", "quats", "scales", "opacities", "rgb", "velocities")


def toy_scene(terms: int = 1) -> tuple[Gaussians, Cameras]:
    """The toy clip's points as Gaussians (the red box drives away at 5 m/s) and its first 3 views."""
    clip = make_clip()
    points = clip.points
    count = len(points.means)
    moving = torch.from_numpy(points.flow).norm(dim=1) > 0
    velocities = torch.zeros(count, terms, 3)
    velocities[moving, 0] = torch.tensor([0.0, 5.0, 0.0])
    scene = Gaussians(
        means=torch.from_numpy(points.means),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        scales=torch.from_numpy(points.scales)[:, None].repeat(1, 3),
        opacities=torch.full((count,), 0.7),
        rgb=torch.from_numpy(points.rgb) / 255.0,
        times=torch.from_numpy(points.times),
        velocities=velocities,
        is_sky=torch.zeros(count, dtype=torch.bool),
        source=torch.arange(count),
    )
    return scene, Cameras.from_views(clip.views[:3])


def one(mean: tuple[float, float, float], **changes) -> Gaussians:
    """A single white Gaussian."""
    values = {
        "means": torch.tensor([mean]),
        "quats": torch.tensor([[1.0, 0, 0, 0]]),
        "scales": torch.full((1, 3), 0.3),
        "opacities": torch.tensor([0.9]),
        "rgb": torch.ones(1, 3),
        "times": torch.zeros(1),
        "velocities": torch.zeros(1, 1, 3),
        "is_sky": torch.tensor([False]),
        "source": torch.tensor([-1]),
    }
    return Gaussians(**{**values, **changes})


def cameras(times: list[float], width: int = 64, height: int = 48) -> Cameras:
    K = torch.tensor([[50.0, 0, width / 2], [0, 50.0, height / 2], [0, 0, 1]])
    return Cameras(
        torch.eye(4).repeat(len(times), 1, 1), K.repeat(len(times), 1, 1), width, height, torch.tensor(times)
    )


def test_shapes_and_what_is_where():
    scene, views = toy_scene()
    out = render(scene, views, with_velocity=True)
    assert out.rgb.shape == out.velocity.shape == (3, 54, 96, 3)
    assert out.alpha.shape == out.depth.shape == (3, 54, 96, 1)
    assert render(scene, views).velocity is None
    sure = out.alpha > 0.9
    assert sure.any()
    assert out.depth[sure].min() > 2
    assert out.depth[sure].max() < 35
    red = (out.rgb[..., 0] > 2 * out.rgb[..., 1]) & (out.alpha[..., 0] > 0.9)
    assert red.any()
    speed = out.velocity[red] / out.alpha[red]
    assert (speed[:, 1] - 5).abs().median() < 0.5


def test_every_camera_renders_at_its_own_time():
    scene = one((0.0, 0.0, 5.0), velocities=torch.tensor([[[2.0, -1.0, 0.0]]]))
    views = cameras([0.0, 0.5, 1.0])
    out = render(scene, views)
    x = torch.arange(64) + 0.5
    y = torch.arange(48) + 0.5
    for camera, time in enumerate((0.0, 0.5, 1.0)):
        weight = out.alpha[camera, ..., 0]
        centre = torch.stack([(weight * x).sum(), (weight * y[:, None]).sum()]) / weight.sum()
        want = torch.tensor([32 + 50 * 2 * time / 5, 24 - 50 * time / 5])
        torch.testing.assert_close(centre, want, atol=0.3, rtol=0)
        alone = render(scene, Cameras(views.viewmats[:1], views.Ks[:1], 64, 48, views.times[camera : camera + 1]))
        assert torch.equal(alone.rgb[0], out.rgb[camera])


def test_static_scene_renders_exactly_zero_velocity_and_the_same_at_any_time():
    scene, views = toy_scene(terms=2)
    out = render(scene.static(), views, with_velocity=True, background=torch.tensor([0.2, 0.5, 0.9]))
    assert not out.velocity.any()
    assert torch.equal(out.rgb[0], out.rgb[2])
    assert not torch.equal(*render(scene, views).rgb[[0, 2]])


def test_background_fills_what_light_is_left():
    scene, views = toy_scene()
    background = torch.tensor([0.2, 0.5, 0.9])
    with_, without = (
        render(scene, views, background=background, with_velocity=True),
        render(scene, views, with_velocity=True),
    )
    torch.testing.assert_close(with_.rgb, without.rgb + (1 - without.alpha) * background)
    assert torch.equal(with_.depth, without.depth)
    torch.testing.assert_close(with_.velocity, without.velocity)


@pytest.mark.parametrize("distance", [2e3, 1e5, 1e8])
def test_far_sky_is_rendered_behind_everything_and_stays(distance):
    sky = one(
        (0.0, 0.0, distance),
        scales=torch.full((1, 3), distance),
        rgb=torch.tensor([[0.1, 0.2, 0.9]]),
        opacities=torch.tensor([1.0]),
        is_sky=torch.tensor([True]),
        velocities=torch.full((1, 1, 3), distance),
    )
    near = one((0.0, 0.0, 5.0), rgb=torch.tensor([[0.9, 0.1, 0.1]]), opacities=torch.tensor([1.0]))
    both = sky.concat(near)
    out = render(both, cameras([0.0, 3.0]), with_velocity=True)
    assert out.alpha.min() > 0.5
    corner, middle = out.rgb[:, 0, 0], out.rgb[:, 24, 32]
    assert (corner[:, 2] > 3 * corner[:, 0]).all()
    assert (middle[:, 0] > 3 * middle[:, 2]).all()
    # Depth is that of what has one: the sky behind a surface does not push it away.
    torch.testing.assert_close(out.depth[:, 0, 0, 0], torch.zeros(2))
    torch.testing.assert_close(out.depth[:, 24, 32, 0], torch.full((2,), 5.0))
    assert torch.equal(out.rgb[0], out.rgb[1])
    assert not out.velocity.any()


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_every_parameter_gets_the_gradient_of_finite_differences(backend):
    torch.manual_seed(0)
    scene, views = toy_scene(terms=2)
    keep = torch.arange(0, len(scene), 60)
    scene = scene.select(keep)
    means = scene.means + 0.1 * torch.randn(scene.means.shape)  # no ties in depth
    scene = replace(scene, means=means, scales=scene.scales * torch.exp(0.5 * torch.randn(scene.scales.shape)))
    double = {name: v.double() if v.is_floating_point() else v for name, v in scene.columns().items()}
    views = Cameras(views.viewmats.double(), views.Ks.double(), 96, 54, views.times.double())
    leaves = {name: double[name].clone().requires_grad_() for name in PARAMETERS}
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 54, 96, 7, generator=generator, dtype=torch.float64)

    def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
        out = render(Gaussians(**{**double, **values}), views, with_velocity=True, backend=backend)
        return (torch.cat([out.rgb, out.velocity, out.alpha * out.depth], dim=-1) * weight).sum()

    loss(leaves).backward()
    for name, leaf in leaves.items():
        direction = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            step = 1e-9  # small, so that no pair crosses the alpha threshold
            ahead, back = (loss({**leaves, name: leaf + sign * step * direction}) for sign in (1, -1))
        want = ((ahead - back) / (2 * step)).item()
        assert abs(want) > 1, name
        assert (leaf.grad * direction).sum().item() == pytest.approx(want, rel=1e-3, abs=1e-2), name


def test_bad_arguments():
    scene, views = toy_scene()
    with pytest.raises(ValueError, match="at least one camera"):
        render(scene, Cameras(views.viewmats[:0], views.Ks[:0], 96, 54, views.times[:0]))
    with pytest.raises(ValueError, match="background must have shape"):
        render(scene, views, background=torch.zeros(1, 3))
    with pytest.raises(ValueError, match="features of"):
        render(replace(scene, rgb=torch.full_like(scene.rgb, torch.nan)), views)


def test_real_sweep_lands_where_the_camera_sees_it():
    """One sweep as small opaque Gaussians: depth at a point's pixel is the point's z-depth; and equals brute force."""
    sweep, camera = real_slice.sweep(10), real_slice.camera("front", 10)
    width, height = real_slice.WIDTH // 2, real_slice.HEIGHT // 2
    world2cam = np.linalg.inv(camera.cam2world)
    points = sweep.points[sweep.sensor == 0]
    local = points @ world2cam[:3, :3].T + world2cam[:3, 3]
    count = len(points)
    generator = torch.Generator().manual_seed(0)
    K = np.diag([0.5, 0.5, 1]) @ camera.K
    scene = Gaussians(
        means=torch.from_numpy(points - camera.cam2world[:3, 3]).float(),
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.full((count, 3), 0.005),
        opacities=torch.full((count,), 0.95),
        rgb=torch.rand(count, 3, generator=generator),
        times=torch.zeros(count),
        velocities=torch.zeros(count, 1, 3),
        is_sky=torch.zeros(count, dtype=torch.bool),
        source=torch.arange(count),
    )
    turn = np.eye(4)
    turn[:3, :3] = world2cam[:3, :3]
    views = Cameras(
        torch.from_numpy(turn).float()[None], torch.from_numpy(K).float()[None], width, height, torch.zeros(1)
    )
    out = render(scene, views)

    uvw = local @ K.T
    u, v = uvw[:, 0] / uvw[:, 2], uvw[:, 1] / uvw[:, 2]
    seen = (local[:, 2] > 1) & (u >= 2) & (u < width - 2) & (v >= 2) & (v < height - 2)
    assert seen.sum() > 5000
    x, y, z = u[seen].astype(int), v[seen].astype(int), local[seen, 2]
    nearest = np.full((height, width), np.inf)
    for dx in (-2, -1, 0, 1, 2):
        for dy in (-2, -1, 0, 1, 2):
            np.minimum.at(nearest, (y + dy, x + dx), z)
    front = z <= nearest[y, x] * 1.001
    rendered = out.depth[0, ..., 0].numpy()[y, x]
    assert front.sum() > 2000
    assert np.median(np.abs(rendered - z)[front] / z[front]) < 2e-3
    assert (out.alpha[0, ..., 0].numpy()[y, x][front] > 0.2).mean() > 0.95

    pick = torch.randperm(int(front.sum()), generator=generator)[:200]
    pixels = torch.from_numpy(np.stack([x[front], y[front]], axis=1))[pick]
    exact = [t.double() for t in (move(scene, 0.0), scene.quats, scene.scales, scene.opacities, scene.rgb)]
    image, alpha, doubtful = brute_force(
        *exact, views.viewmats[0].double(), views.Ks[0].double(), width, height, pixels=pixels
    )
    sure = ~doubtful
    assert sure.float().mean() > 0.95
    got = out.rgb[0][pixels[:, 1], pixels[:, 0]]
    assert (got - image[:, :3])[
        sure
    ].abs().max() < 2e-4  # float32 knows pixel 900 to 6e-5, and colour changes by about 1 a pixel
    assert (out.alpha[0][pixels[:, 1], pixels[:, 0], 0] - alpha)[sure].abs().max() < 2e-4
