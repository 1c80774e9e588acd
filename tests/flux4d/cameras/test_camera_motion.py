"""A camera's twist from its poses, and points as it sees them a moment later, against scipy's matrix exponential."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.motion import camera_twists, drift, swing
from flux4d.cameras.shutter import Shutter
from store_schema.clip import View
from tests.support.logs import real_slice
from tests.support.scenes.toy import make_clip

numbers = st.floats(-1, 1, allow_subnormal=False)
vectors = st.tuples(numbers, numbers, numbers).map(np.array)


def hat(twist: np.ndarray) -> np.ndarray:
    """[4, 4] matrix of a twist, for `expm`."""
    x, y, z = twist[3:]
    out = np.zeros((4, 4))
    out[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    out[:3, 3] = twist[:3]
    return out


def driven(twist: np.ndarray, times: list[float], start: np.ndarray | None = None) -> list[View]:
    """Views of one camera that moves with a constant twist, one frame a time."""
    view = make_clip(per_frame=3).views[0]
    start = view.cam2ego0 if start is None else start
    return [
        replace(view, frame=frame, time=time, cam2ego0=start @ expm(hat(twist) * time))
        for frame, time in enumerate(times)
    ]


@settings(max_examples=40, deadline=None)
@given(vectors, vectors)
def test_a_constant_twist_is_found_from_any_spacing(velocity, turning):
    twist = np.concatenate([30 * velocity, 3 * turning])
    views = driven(twist, [-0.05, 0.05, 0.17, 0.25])
    found = camera_twists(views, views[::-1])
    assert np.abs(found - twist).max() < 1e-9


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 0.999e-3, 1.001e-3, 0.1, 2.9])
def test_turns_of_all_sizes(angle):
    twist = np.array([3.0, -1.0, 12.0, 0.6 * angle, 0.0, -0.8 * angle])
    views = driven(twist, [0.0, 1.0])
    assert np.abs(camera_twists(views, views) - twist).max() < 1e-8


def test_a_twist_that_changes_evenly_is_met_between_two_neighbours():
    """Straight driving with 4 m/s2, frames unevenly apart: the middle speed is exact, the ends are of the first gap."""
    times = [0.0, 0.1, 0.3]
    view = make_clip(per_frame=3).views[0]
    views = []
    for frame, time in enumerate(times):
        pose = view.cam2ego0.copy()
        pose[:3, 3] += pose[:3, 2] * (10 * time + 2 * time**2)
        views.append(replace(view, frame=frame, time=time, cam2ego0=pose))
    speeds = camera_twists(views, views)[:, 2]
    np.testing.assert_allclose(speeds, [10.2, 10.4, 10.8], atol=1e-9)


def test_other_cameras_do_not_count_and_a_still_camera_has_exactly_no_twist():
    pose = np.eye(4)
    pose[:3, :3] = expm(hat(np.array([0, 0, 0, 0.3, -1.2, 0.7])))[:3, :3]
    still = driven(np.zeros(6), [0.0, 0.1, 0.2], pose)
    other = [replace(view, camera="left_camera") for view in driven(np.full(6, 2.0), [0.0, 0.1, 0.2])]
    twists = camera_twists(still, [*other, *still])
    assert not twists.any()
    assert np.abs(camera_twists(other, [*still, *other]) - 2).max() < 1e-9


def test_what_a_path_cannot_tell_is_an_error():
    views = driven(np.ones(6), [0.0, 0.1])
    with pytest.raises(ValueError, match=r"front_camera has no view but that of frame 0: .* leave the shutter out"):
        camera_twists(views[:1], views[:1])
    with pytest.raises(ValueError, match=r"front_camera, frames 0 and 1: .* times must increase"):
        camera_twists(views, [views[0], replace(views[1], time=0.0)])
    turned = driven(np.array([0, 0, 0, 0, 31.0, 0]), [0.0, 0.1])
    with pytest.raises(ValueError, match=r"frames 0 and 1: a turn of 3.10 rad"):
        camera_twists(turned, turned)
    with pytest.raises(ValueError, match="a shutter needs the cameras' motion"):
        Cameras.from_views(views, shutter=Shutter(readout=0.03))
    cameras = Cameras.from_views(views, path=views, shutter=Shutter(readout=0.03))
    assert cameras.to("cpu").shutter == cameras.shutter
    with pytest.raises(ValueError, match=r"twists must have shape \(2, 6\)"):
        replace(cameras, twists=torch.zeros(1, 6))


@settings(max_examples=40, deadline=None)
@given(vectors, vectors, vectors, st.floats(-0.5, 0.5))
def test_drift_is_the_exponential_of_the_twist(velocity, turning, point, elapsed):
    twist = np.concatenate([30 * velocity, 3 * turning])
    points = torch.from_numpy(100 * point)[None]
    times = torch.tensor([elapsed], dtype=torch.float64)
    matrix = expm(-hat(twist) * elapsed)
    moved = points + drift(points, torch.from_numpy(twist), times)
    np.testing.assert_allclose(moved[0].numpy(), matrix[:3, :3] @ points[0].numpy() + matrix[:3, 3], atol=1e-9)
    turned = points + swing(points, torch.from_numpy(twist), times)
    np.testing.assert_allclose(turned[0].numpy(), matrix[:3, :3] @ points[0].numpy(), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("turning", [1e-192, 1e-160, 1e-40, 1e-22, 1e-18])
def test_a_turning_too_small_to_square_is_none(turning, dtype):
    twist = torch.tensor([1.0, 2.0, 3.0, 0.0, turning, -turning], dtype=dtype)
    points, times = torch.tensor([[4.0, 5.0, 6.0]], dtype=dtype), torch.tensor([0.5], dtype=dtype)
    torch.testing.assert_close(drift(points, twist, times), -0.5 * twist[None, :3])
    torch.testing.assert_close(swing(points, twist, times), torch.zeros_like(points))


def test_drift_has_gradients_also_for_a_camera_that_does_not_turn():
    g = torch.Generator().manual_seed(0)
    points = torch.randn(5, 3, generator=g, dtype=torch.float64, requires_grad=True)
    times = (0.1 * torch.randn(5, generator=g, dtype=torch.float64)).requires_grad_()
    for twist in (torch.tensor([8.0, -1, 3, 0.4, -0.2, 0.7]), torch.tensor([8.0, -1, 3, 0, 0, 0])):
        values = twist.double().requires_grad_()
        assert torch.autograd.gradcheck(lambda p, t, values=values: drift(p, values, t), (points, times))
        drift(points, values, times).sum().backward()
        assert values.grad.isfinite().all()
    assert torch.autograd.gradcheck(drift, (points, torch.randn(6, generator=g).double().requires_grad_(), times))


def test_a_still_camera_drifts_exactly_nothing():
    points = 1e8 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert not drift(points, torch.zeros(6), torch.linspace(-0.1, 0.1, 50)).any()


def test_the_cameras_of_a_real_rig_move_as_one():
    """Same speed within a few cm/s of each other and the same turning; a twist foretells the next pose to a few cm."""
    view = make_clip(per_frame=3).views[0]
    turns, speeds = [], []
    for name in real_slice.CAMERAS:
        path = []
        for frame in range(24, 29):
            camera = real_slice.camera(name, frame)
            where = {"camera": name, "time": camera.time, "cam2ego0": camera.cam2world}
            path.append(replace(view, frame=frame, **where))
        twist = camera_twists(path[2:3], path)[0]
        ahead = path[2].cam2ego0 @ expm(hat(twist) * (path[3].time - path[2].time))
        assert np.linalg.norm(ahead[:3, 3] - path[3].cam2ego0[:3, 3]) < 0.03
        speeds.append(np.linalg.norm(twist[:3]))
        turns.append(path[2].cam2ego0[:3, :3] @ twist[3:])
    assert min(speeds) > 3
    assert max(speeds) - min(speeds) < 0.2
    assert np.ptp(turns, axis=0).max() < 0.02
