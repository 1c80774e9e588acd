"""Image velocities against finite differences of projected means, and of what is rendered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.image_velocity import image_velocity
from flux4d.cameras.motion import drift
from flux4d.gaussians import Gaussians
from flux4d.motion import move, velocity_at
from flux4d.render import render
from tests.flux4d.cameras.test_camera_motion import hat
from tests.flux4d.test_motion import make
from tests.flux4d.test_render import cameras, one, toy_scene

TWIST = torch.tensor([6.0, -0.5, 9.0, 0.1, -0.6, 0.2], dtype=torch.float64)
K = torch.tensor([[70.0, 0, 48], [0, 65.0, 27], [0, 0, 1]], dtype=torch.float64)


def pose() -> Tensor:
    turn = expm(hat(np.array([0.0, 0, 0, 0.2, -0.4, 0.1])))
    turn[:3, 3] = [0.3, -0.2, 6.0]
    return torch.from_numpy(turn)


def pixels(means: Tensor, viewmat: Tensor) -> Tensor:
    local = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    image = local @ K.T
    return image[:, :2] / image[:, 2:]


@pytest.mark.parametrize("terms", [1, 2, 3])
@pytest.mark.parametrize("moving_camera", [False, True])
def test_is_the_derivative_of_the_projection(terms, moving_camera):
    scene, world2cam, time = make(terms), pose(), 0.7
    twist = TWIST if moving_camera else None

    def at(delay: float) -> Tensor:
        viewmat = world2cam if twist is None else torch.from_numpy(expm(-delay * hat(twist.numpy()))) @ world2cam
        return pixels(move(scene, time + delay), viewmat)

    found = image_velocity(move(scene, time), velocity_at(scene, time), world2cam, K, twist)
    near = ((move(scene, time) @ world2cam[:3, :3].T + world2cam[:3, 3])[:, 2] < 0.5).squeeze()
    assert (~near).sum() >= 5
    step = 1e-6
    want = (at(step) - at(-step)) / (2 * step)
    torch.testing.assert_close(found[~near], want[~near], rtol=1e-6, atol=1e-5)
    assert found[scene.is_sky & ~near].any() == moving_camera


def test_gradients():
    scene, world2cam = make(2), pose()
    means = move(scene, 0.0).clone().requires_grad_()
    velocities = velocity_at(scene, 0.3).clone().requires_grad_()
    twist = TWIST.clone().requires_grad_()
    seen = lambda m, v, t: image_velocity(m, v, world2cam, K, t)  # noqa: E731
    assert torch.autograd.gradcheck(seen, (means, velocities, twist))


def test_points_behind_and_at_the_camera_have_none_and_spoil_no_gradient():
    means = torch.tensor([[0.0, 0, 0], [1.0, 1, -5], [1.0, 2, 1e-3], [0.5, 0, 0.02]], requires_grad=True)
    velocities = torch.full((4, 3), 3.0, requires_grad=True)
    flow = image_velocity(means, velocities, torch.eye(4), K.float(), TWIST.float())
    assert not flow[:3].any()
    assert flow[3].norm() > 1e4  # passes the lens: its true motion, no clamp
    flow.sum().backward()
    assert means.grad.isfinite().all()
    assert velocities.grad.isfinite().all()


def test_a_background_that_stands_still_before_a_still_camera_is_exactly_zero():
    scene, views = toy_scene(terms=2)
    scene = replace(scene, is_sky=torch.arange(len(scene)) % 3 == 0)
    still = Cameras(views.viewmats, views.Ks, 96, 54, views.times, torch.zeros(3, 6))
    moving = scene.velocities.flatten(1).any(dim=1) & ~scene.is_sky
    for seen in (views, still):
        out = render(scene.select(~moving), seen, with_image_velocity=True, background=torch.ones(3))
        assert out.image_velocity.shape == (3, 54, 96, 2)
        assert out.alpha.max() > 0.9
        assert not out.image_velocity.any()
        assert render(scene, seen, with_image_velocity=True).image_velocity.any()
    assert render(scene, views).image_velocity is None


def test_camera_flow_can_be_left_out():
    scene, views = toy_scene()
    driven = Cameras(views.viewmats, views.Ks, 96, 54, views.times, TWIST.float().repeat(3, 1))
    both, own = (render(scene, driven, with_image_velocity=True, camera_flow=on) for on in (True, False))
    plain = render(scene, views, with_image_velocity=True, with_velocity=True)
    assert torch.equal(own.image_velocity, plain.image_velocity)
    assert torch.equal(both.rgb, plain.rgb)
    assert (both.image_velocity - own.image_velocity).abs().max() > 10
    assert torch.equal(plain.velocity, render(scene, views, with_velocity=True).velocity)


@pytest.mark.parametrize("terms", [1, 3])
def test_what_is_rendered_moves_as_the_image_velocity_says(terms):
    """Centroid of one rendered Gaussian, a moment before and after, seen by a camera that moves as well."""
    coefficients = torch.tensor([[[2.0, -1.0, 0.5], [1.0, 0.5, 0.0], [0.5, -2.0, 0.3]]])[:, :terms].double()
    scene = one((0.2, -0.1, 8.0), velocities=coefficients, scales=torch.full((1, 3), 0.2))
    scene = double(scene)
    base, time, step = cameras([0.4]), 0.4, 1e-4
    twist = TWIST * torch.tensor([1, 1, 0.1, 0.1, 0.1, 0])

    def at(delay: float, **wanted):
        viewmat = torch.from_numpy(expm(-delay * hat(twist.numpy())))[None]
        stamp = torch.tensor([time + delay], dtype=torch.float64)
        seen = Cameras(viewmat, base.Ks.double(), 64, 48, stamp, twist[None])
        return render(scene, seen, backend="torch", **wanted)

    def centroid(alpha: Tensor) -> Tensor:
        x, y = torch.arange(64) + 0.5, torch.arange(48) + 0.5
        weight = alpha[0, ..., 0]
        return torch.stack([(weight * x).sum(), (weight * y[:, None]).sum()]) / weight.sum()

    now = at(0.0, with_image_velocity=True)
    middle = now.alpha[0, ..., 0] > 0.1
    rendered = now.image_velocity[0][middle] / now.alpha[0][middle]
    torch.testing.assert_close(rendered, rendered[:1].expand_as(rendered))  # one Gaussian: one velocity
    measured = (centroid(at(step).alpha) - centroid(at(-step).alpha)) / (2 * step)
    assert measured.norm() > 15
    # The centroid of a splat is its centre but for the cut at the threshold and the image's grid.
    torch.testing.assert_close(rendered[0], measured, rtol=0.02, atol=0.5)


def double(scene: Gaussians) -> Gaussians:
    values = {name: getattr(scene, name) for name in Gaussians.__dataclass_fields__}
    return Gaussians(
        **{name: v.double() if v is not None and v.is_floating_point() else v for name, v in values.items()}
    )


def test_a_static_point_drifts_as_its_image_velocity_says():
    """The finite motion of the shutter and the velocity agree to first order."""
    points = torch.tensor([[1.0, -0.5, 7.0], [-2.0, 0.3, 20.0]], dtype=torch.float64)
    step = torch.full((2,), 1e-6, dtype=torch.float64)
    here, eye = pixels(points, torch.eye(4).double()), torch.eye(4).double()
    there = pixels(points + drift(points, TWIST, step), eye)
    found = image_velocity(points, torch.zeros_like(points), eye, K, TWIST)
    torch.testing.assert_close(found, (there - here) / 1e-6, rtol=1e-4, atol=1e-3)
