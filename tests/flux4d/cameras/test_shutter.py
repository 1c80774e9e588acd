"""Rolling shutter against the truth: every row rendered alone, with the pose and the time of its own exposure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from torch import Tensor

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.motion import drift
from flux4d.cameras.shutter import Shutter, capture_delays, displace
from flux4d.gaussians import Gaussians
from flux4d.motion import move, velocity_at
from flux4d.render import Rendering, render
from flux4d.supervision.target import make_target
from tests.flux4d.cameras.test_camera_motion import driven, hat
from tests.flux4d.cameras.test_image_velocity import double
from tests.flux4d.test_motion import make
from tests.flux4d.test_render import cameras, one, toy_scene
from tests.support.scenes.toy import make_clip

SIDEWAYS = np.array([15.0, 0.0, 3.0, 0.05, 0.3, -0.02])
"""A camera that looks across the road from a car at 15 m/s, in a bend."""
NODDING = np.array([0.0, 0.0, 15.0, 0.4, 0.0, 0.0])
"""A camera that looks ahead from a car at 15 m/s over a bump: its rows run up or down the image."""
WIDTH, HEIGHT = 96, 54


def street(terms: int = 1) -> Gaussians:
    """The toy clip as Gaussians, the red box at 20 m/s across the view."""
    scene, _ = toy_scene(terms)
    moving = scene.velocities.flatten(1).any(dim=1)
    velocities = torch.where(moving[:, None, None], torch.tensor([-20.0, 5.0, 0.0]), 0.0).repeat(1, terms, 1)
    return replace(scene, velocities=velocities, scales=0.6 * scene.scales)


def moving_cameras(twist: np.ndarray = SIDEWAYS, shutter: Shutter | None = None) -> Cameras:
    """One camera at 0.4 s with a constant twist, by three poses 0.1 s apart."""
    _, views = toy_scene()
    start = np.linalg.inv(views.viewmats[0].double().numpy()) @ expm(-0.4 * hat(twist))
    path = driven(twist, [0.3, 0.4, 0.5], start)
    return Cameras.from_views(path[1:2], path=path, shutter=shutter)


def row_by_row(scene: Gaussians, seen: Cameras, shutter: Shutter, **wanted: bool) -> Rendering:
    """The truth: for each row a rendering with the camera's pose and time of that row, of which that row is kept."""
    pictures = []
    twist = hat(seen.twists[0].double().numpy())
    for row in range(seen.height):
        delay = shutter.offset + ((row + 0.5) / seen.height - 0.5) * shutter.readout
        viewmat = torch.from_numpy(expm(-delay * twist) @ seen.viewmats[0].double().numpy())
        at = replace(seen, viewmats=viewmat.to(seen.viewmats)[None], times=seen.times + delay, shutter=None)
        out = render(scene, at, **wanted)
        pictures.append([None if image is None else image[:, row] for image in values(out)])
    return Rendering(*(None if rows[0] is None else torch.stack(rows, dim=1) for rows in zip(*pictures, strict=True)))


def values(out: Rendering) -> list[Tensor | None]:
    return [getattr(out, name) for name in Rendering.__dataclass_fields__]


def rms(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt())


@pytest.mark.parametrize(
    ("shutter", "gain"),
    [
        (Shutter(readout=0.03), 10),
        (Shutter(readout=-0.03), 10),
        (Shutter(readout=0.03, offset=-0.012), 10),
        (Shutter(offset=-0.012), 50),
    ],
)
def test_every_row_looks_as_from_its_own_camera(shutter, gain):
    """Fast camera, fast box: nearer to the truth by `gain` than the same camera with a global shutter.

    Root mean square off the truth with 30 ms, global and rolling: colour 0.062 and 0.005, velocity 0.96 and 0.09 m/s,
    image velocity 25 and 1.8 px/s, depth 1.1 and 0.13 m. What is left is that a Gaussian has one time for all its rows.
    """
    scene, seen = street(), moving_cameras(shutter=shutter)
    wanted = {"with_velocity": True, "with_image_velocity": True}
    truth = row_by_row(scene, seen, shutter, **wanted)
    rolling, still = render(scene, seen, **wanted), render(scene, replace(seen, shutter=None), **wanted)
    for name in ("rgb", "alpha"):
        far, near = (rms(getattr(out, name), getattr(truth, name)) for out in (still, rolling))
        assert far > 0.02, name  # there is something to gain
        assert near < far / gain, (name, near, far)
    for name, least in (("velocity", 0.3), ("image_velocity", 5.0)):
        far, near = (rms(getattr(out, name), getattr(truth, name)) for out in (still, rolling))
        assert far > least, name
        assert near < far / gain, (name, near, far)
    sure = (truth.alpha > 0.9) & (rolling.alpha > 0.9) & (still.alpha > 0.9)
    far, near = (rms(out.depth[sure], truth.depth[sure]) for out in (still, rolling))
    assert near < far / 3, (near, far)


def test_an_instant_shutter_changes_no_bit():
    scene, seen = street(2), moving_cameras()
    wanted = {"with_velocity": True, "with_image_velocity": True}
    plain = render(scene, replace(seen, twists=None), with_velocity=True)
    for shutter in (None, Shutter()):
        out = render(scene, replace(seen, shutter=shutter), **wanted)
        for name in ("rgb", "alpha", "depth", "velocity"):
            assert torch.equal(getattr(out, name), getattr(plain, name)), name


def test_a_still_camera_sees_a_still_scene_the_same_through_any_shutter():
    scene, seen = street().static(), moving_cameras(np.zeros(6))
    assert not seen.twists.any()
    plain = render(scene, seen, with_image_velocity=True)
    out = render(scene, replace(seen, shutter=Shutter(0.03, -0.01)), with_image_velocity=True)
    for a, b in zip(values(plain), values(out), strict=True):
        assert a is b is None or torch.equal(a, b)
    assert not out.image_velocity.any()


def test_shifted_views_are_what_an_offset_renders():
    """An offset alone is the camera at another time: rendering the later view of the same drive gives that image."""
    scene, seen = street(2), moving_cameras(shutter=Shutter(offset=0.02))
    later = torch.from_numpy(expm(-0.02 * hat(SIDEWAYS)) @ seen.viewmats[0].double().numpy()).float()
    at = Cameras(later[None], seen.Ks, WIDTH, HEIGHT, seen.times + 0.02)
    assert rms(render(scene, seen).rgb, render(scene, at).rgb) < 1e-3
    assert rms(render(scene, seen).rgb, render(scene, replace(seen, shutter=None)).rgb) > 0.02


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.integers(0, 5))
def test_delays_are_those_of_the_image_rows(readout, offset, seed):
    """Always within the image's exposures, finite also for what is behind the camera or beside the image."""
    scene = replace(make(1), means=torch.randn(20, 3, generator=torch.Generator().manual_seed(seed)).double() * 5)
    shutter, K = Shutter(readout, offset), torch.tensor([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]).double()
    at = scene.means, velocity_at(scene, 0.0), torch.eye(4).double(), K, torch.from_numpy(SIDEWAYS)
    delays = capture_delays(*at, 48, shutter)
    assert delays.isfinite().all()
    assert (delays - offset).abs().max() <= abs(readout) / 2 + 1e-12
    behind = scene.means[:, 2] < 0
    torch.testing.assert_close(delays[behind], torch.full_like(delays[behind], offset))


@pytest.mark.parametrize("twist", [SIDEWAYS, NODDING])
def test_the_closed_form_is_right_to_first_order(twist):
    """The row a Gaussian is displaced to is exposed at its delay: half the readout, an eighth of the error.

    A sixth is asked for. Rows that move against the readout, or not at all, leave a quarter (`shutter.py`'s `rate`).
    """
    scene = double(street(2))
    seen = moving_cameras(twist)
    viewmat, K, twist = seen.viewmats[0].double(), seen.Ks[0].double(), seen.twists[0].double()

    def errors(readout: float) -> Tensor:
        shutter = Shutter(readout)
        means, delays = displace(scene, seen.times[0].double(), viewmat, K, twist, HEIGHT, shutter)
        local = move(scene, 0.4 + delays) @ viewmat[:3, :3].T + viewmat[:3, 3]
        local = local + drift(local, twist, delays)
        there = (local @ K.T)[:, :2] / local[:, 2:]
        torch.testing.assert_close(means @ viewmat[:3, :3].T + viewmat[:3, 3], local, rtol=0, atol=1e-5)
        inside = (local[:, 2] > 1) & (there[:, 1] > 2) & (there[:, 1] < HEIGHT - 2)
        assert inside.sum() > 300
        return (delays - shutter.row_delays(there[:, 1], HEIGHT))[inside].abs().median()

    for sign in (1, -1):
        assert errors(sign * 0.04) < 1e-6
        assert errors(sign * 0.02) < errors(sign * 0.04) / 6


def test_image_velocities_through_a_shutter_are_those_of_the_later_camera():
    """A car that crosses before a camera that has turned by 0.18 rad when it is seen; all rows at once, so exactly."""
    crossing = one((1.0, 0.4, 8.0), velocities=torch.tensor([[[-12.0, 3.0, 9.0]]]))
    twist, delay = torch.tensor([1.0, 0.5, 4.0, 0.3, 1.1, -0.4]), 0.15
    now = replace(cameras([0.0]), twists=twist[None])
    later = replace(
        now,
        viewmats=torch.from_numpy(expm(-delay * hat(twist.double().numpy()))).float()[None],
        times=now.times + delay,
    )
    speeds = []
    for seen in (replace(now, shutter=Shutter(offset=delay)), later, now):
        out = render(crossing, seen, with_image_velocity=True)
        sure = out.alpha[..., 0] > 0.3
        speed = out.image_velocity[sure] / out.alpha[sure]
        torch.testing.assert_close(speed, speed[:1].expand_as(speed))  # one Gaussian: one velocity
        speeds.append(speed[0])
    through, truth, unshifted = speeds
    torch.testing.assert_close(through, truth, rtol=1e-4, atol=1e-3)
    assert (truth - unshifted).norm() > 5


def test_gradients_of_the_displaced_means():
    scene = make(2, count=8)
    leaves = [value.clone().requires_grad_() for value in (scene.means, scene.times, scene.velocities)]
    world2cam = torch.eye(4).double()
    world2cam[2, 3] = 30.0
    K = torch.tensor([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]).double()

    def seen(means, times, velocities, twist):
        at = replace(scene, means=means, times=times, velocities=velocities)
        return displace(at, torch.tensor(0.4).double(), world2cam, K, twist, 48, Shutter(0.03, -0.01))

    assert torch.autograd.gradcheck(seen, (*leaves, torch.from_numpy(SIDEWAYS).requires_grad_()))


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_rendering_through_a_shutter_is_differentiable(backend):
    """Against finite differences along a random direction, in what the shutter changes."""
    scene = double(street(2)).select(torch.arange(0, 1800, 60))
    g = torch.Generator().manual_seed(0)
    scene = replace(scene, means=scene.means + 0.1 * torch.randn(len(scene), 3, generator=g), scales=2 * scene.scales)
    seen = moving_cameras(shutter=Shutter(0.03, -0.01))
    seen = replace(
        seen,
        viewmats=seen.viewmats.double(),
        Ks=seen.Ks.double(),
        times=seen.times.double(),
        twists=seen.twists.double(),
    )
    weight = torch.randn(1, HEIGHT, WIDTH, 6, generator=g, dtype=torch.float64)

    def loss(means: Tensor, velocities: Tensor) -> Tensor:
        at = replace(scene, means=means, velocities=velocities)
        out = render(at, seen, with_image_velocity=True, backend=backend)
        return (torch.cat([out.rgb, out.depth * out.alpha, 0.01 * out.image_velocity], dim=-1) * weight).sum()

    leaves = [value.clone().requires_grad_() for value in (scene.means, scene.velocities)]
    loss(*leaves).backward()
    for index, leaf in enumerate(leaves):
        direction = torch.randn(leaf.shape, generator=g, dtype=torch.float64)
        step = 1e-9  # small, so that no pair crosses the alpha threshold
        with torch.no_grad():
            ahead, back = (loss(*(v + sign * step * direction if v is leaf else v for v in leaves)) for sign in (1, -1))
        want = ((ahead - back) / (2 * step)).item()
        assert abs(want) > 1, index
        assert (leaf.grad * direction).sum().item() == pytest.approx(want, rel=1e-3, abs=1e-2), index


def test_a_gaussian_that_races_with_the_readout_and_one_behind_do_no_harm():
    """Rows of the image pass at 1600 px/s; this Gaussian falls at 2500 px/s, another is behind, one at the lens."""
    fast = one((0.0, -1.0, 1.0), velocities=torch.tensor([[[0.0, 50.0, 0.0]]]))
    scene = fast.concat(one((0.0, 0.0, -3.0))).concat(one((0.1, 0.0, 0.011)))
    means = scene.means.clone().requires_grad_()
    seen = replace(cameras([0.0]), twists=torch.from_numpy(SIDEWAYS).float()[None], shutter=Shutter(0.03))
    out = render(replace(scene, means=means), seen, with_image_velocity=True)
    assert all(image.isfinite().all() for image in (out.rgb, out.alpha, out.depth, out.image_velocity))
    out.rgb.sum().backward()
    assert means.grad.isfinite().all()


@pytest.mark.parametrize("bad", [{"readout": 30.0}, {"readout": float("nan")}, {"offset": -12.0}])
def test_impossible_shutters(bad):
    with pytest.raises(ValueError, match=r"at most 0.2 s either way; give seconds, not milliseconds"):
        Shutter(**bad)


def test_a_target_has_the_shutter_for_its_image_and_none_for_its_depth():
    clip, shutter = make_clip(), Shutter(0.03, -0.01)
    target = make_target(clip.views[3], 48, torch.device("cpu"), path=clip.views, shutter=shutter)
    assert target.cameras.shutter == shutter
    assert target.global_cameras.shutter is None
    assert torch.equal(target.global_cameras.viewmats, target.cameras.viewmats)
    with pytest.raises(ValueError, match="needs the cameras' motion"):
        make_target(clip.views[3], 48, torch.device("cpu"), shutter=shutter)
    with pytest.raises(ValueError, match="no view but that of frame"):
        make_target(clip.views[3], 48, torch.device("cpu"), path=clip.views[3:4], shutter=shutter)
