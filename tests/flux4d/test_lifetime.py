"""Gaussians that come and go: their opacity over time, in every renderer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flux4d.cameras.cameras import Cameras
from flux4d.cameras.shutter import Shutter
from flux4d.lidar import SpinningLidar, render_lidar
from flux4d.lifetime import opacities_at, presence
from flux4d.network.model import Flux4D, NetworkConfig
from flux4d.render import render
from tests.flux4d.test_render import cameras, one, toy_scene
from tests.support.scenes.any_scene import make_gaussians

FOREVER = torch.tensor([torch.inf])


def test_the_opacity_is_a_bell_curve_around_the_gaussians_own_time():
    gaussians = one((0.0, 0.0, 5.0), times=torch.tensor([0.4]), sigma_t=torch.tensor([0.2]))
    for time, share in ((0.4, 1.0), (0.6, np.exp(-0.5)), (0.0, np.exp(-2.0))):
        assert opacities_at(gaussians, time).item() == pytest.approx(0.9 * share, rel=1e-6)


def test_sky_and_infinite_lifetimes_never_fade():
    short = torch.tensor([0.01])
    for changes in ({"is_sky": torch.tensor([True]), "sigma_t": short}, {"sigma_t": FOREVER}):
        assert opacities_at(one((0.0, 0.0, 5.0), **changes), 9.0).item() == pytest.approx(0.9)
    assert opacities_at(one((0.0, 0.0, 5.0), sigma_t=short), 9.0).item() == 0.0


def test_presence_passes_gradcheck_and_infinite_lifetimes_have_no_gradient():
    torch.manual_seed(0)
    times, sigma_t = torch.rand(6, dtype=torch.float64), 0.1 + torch.rand(6, dtype=torch.float64)
    time = torch.rand(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(presence, [v.requires_grad_() for v in (times, sigma_t, time)])
    always = torch.full((1,), torch.inf, requires_grad=True)
    presence(torch.zeros(1), always, 3.0).sum().backward()
    assert always.grad.item() == 0.0


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("shutter", [None, Shutter(0.05, 0.01)])
def test_lifetimes_and_times_get_the_gradient_of_finite_differences(backend, shutter):
    torch.manual_seed(0)
    scene, views = toy_scene(terms=2)
    scene = scene.select(torch.arange(0, len(scene), 60))
    scene = replace(scene, means=scene.means + 0.1 * torch.randn(scene.means.shape), is_sky=scene.is_sky.clone())
    scene.is_sky[::7] = True
    scene = replace(scene, sigma_t=0.1 + 0.3 * torch.rand(len(scene)))
    double = {name: v.double() if v.is_floating_point() else v for name, v in scene.columns().items()}
    twists = None if shutter is None else torch.tensor([[0.2, 0.1, 3.0, 0.1, 0.2, 0.05]] * 3, dtype=torch.float64)
    views = Cameras(views.viewmats.double(), views.Ks.double(), 96, 54, views.times.double(), twists, shutter)
    weight = torch.randn(3, 54, 96, 5, dtype=torch.float64)

    def loss(sigma_t, times):
        out = render(type(scene)(**{**double, "sigma_t": sigma_t, "times": times}), views, backend=backend)
        return (torch.cat([out.rgb, out.alpha, out.alpha * out.depth], dim=-1) * weight).sum()

    leaves = [double[name].clone().requires_grad_() for name in ("sigma_t", "times")]
    loss(*leaves).backward()
    for number, leaf in enumerate(leaves):
        direction = torch.randn(leaf.shape, dtype=torch.float64)
        with torch.no_grad():
            step = 1e-8
            ends = [[value + s * step * direction * (i == number) for i, value in enumerate(leaves)] for s in (1, -1)]
            want = ((loss(*ends[0]) - loss(*ends[1])) / (2 * step)).item()
        assert abs(want) > 0.1
        assert (leaf.grad * direction).sum().item() == pytest.approx(want, rel=1e-3, abs=1e-2)


def test_without_lifetimes_and_with_infinite_ones_a_rendering_has_the_same_bits():
    scene, views = toy_scene()
    plain = render(scene, views, with_velocity=True)
    always = render(replace(scene, sigma_t=torch.full((len(scene),), torch.inf)), views, with_velocity=True)
    for name in ("rgb", "alpha", "depth", "velocity"):
        assert torch.equal(getattr(plain, name), getattr(always, name))


def test_a_gaussian_is_seen_while_it_lives():
    scene = one((0.0, 0.0, 5.0), sigma_t=torch.tensor([0.1]))
    alpha = render(scene, cameras([0.0, 0.1, 1.0])).alpha.amax(dim=(1, 2, 3))
    assert alpha[1] / alpha[0] == pytest.approx(np.exp(-0.5), abs=0.02)
    assert alpha[2] == 0


def test_with_a_shutter_each_gaussian_has_the_opacity_of_its_own_row():
    """One row is read at the Gaussian's time, the other 0.1 s later."""
    top = one((0.0, -1.5, 5.0), sigma_t=torch.tensor([0.05]))
    scene = top.concat(replace(top, means=torch.tensor([[0.0, 1.5, 5.0]])))
    views = cameras([0.0])
    still = torch.zeros(1, 6)
    late = replace(views, twists=still, shutter=Shutter(0.16, 0.05))
    alpha = render(scene, late).alpha[0, ..., 0]
    delays = late.shutter.row_delays(torch.tensor([24 - 15.0, 24 + 15.0]), 48)
    want = torch.exp(-0.5 * (delays / 0.05) ** 2)
    assert alpha[30:].max() / alpha[:20].max() == pytest.approx((want[1] / want[0]).item(), rel=0.05)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_a_spinning_lidar_meets_what_is_there_when_its_beam_passes(backend):
    pose = np.stack([np.eye(4), np.eye(4)])
    lidar = SpinningLidar(np.array([0.05, 0.0, -0.05]), 90, pose, (0.0, 0.1), 0.0, False)
    angle = 2 * np.pi * torch.arange(4) / 4 + 0.4
    ahead = one((0.0, 0.0, 0.0), opacities=torch.tensor([0.99]), scales=torch.full((1, 3), 0.4))
    scene = ahead.select(torch.zeros(4, dtype=torch.long))
    means = torch.stack([8 * angle.cos(), 8 * angle.sin(), torch.zeros(4)], dim=1)
    scene = replace(scene, means=means, times=torch.full((4,), 0.1 * (0.4 / (2 * np.pi))))
    column = (angle / lidar.column_width).long()
    plain = render_lidar(scene, lidar, backend=backend).alpha[1, column]
    assert (plain > 0.9).all()
    always = replace(scene, sigma_t=torch.full((4,), torch.inf))
    assert torch.equal(render_lidar(always, lidar, backend=backend).alpha[1, column], plain)
    fading = replace(scene, sigma_t=torch.full((4,), 0.025))
    fading.sigma_t.requires_grad_()
    found = render_lidar(fading, lidar, backend=backend).alpha[1, column]
    # A quarter of the turn later each, one lifetime.
    want = plain * torch.exp(-0.5 * torch.arange(4) ** 2)
    torch.testing.assert_close(found, want, atol=0.03, rtol=0.05)
    found[1].backward()
    assert fading.sigma_t.grad[1] > 0
    gone = render_lidar(replace(scene, sigma_t=torch.full((4,), 0.002)), lidar, backend=backend, with_median=True)
    assert (gone.alpha[1, column[1:]] == 0).all()
    assert gone.alpha[1, column[0]] > 0.9
    with pytest.raises(ValueError, match="sigma_t of the Gaussians must be above 0 s"):
        render_lidar(replace(scene, sigma_t=torch.zeros(4)), lidar, backend=backend)


def test_every_method_of_gaussians_carries_the_optional_columns():
    scene = make_gaussians(9)
    bare = make_gaussians(4, lifetime=False, instance=False)
    assert scene.to("cpu").columns().keys() == scene.detach().columns().keys() == scene.columns().keys()
    assert "sigma_t" not in bare.to("cpu").static().columns()
    picked = scene.select(torch.tensor([4, 2]))
    assert torch.equal(picked.sigma_t, scene.sigma_t[[4, 2]])
    assert torch.equal(picked.instance, scene.instance[[4, 2]])
    assert torch.equal(scene.static().sigma_t, scene.sigma_t)
    assert "sigma_t" not in bare.concat(bare).columns()
    for joined, first in ((bare.concat(scene), bare), (scene.concat(bare), scene)):
        absent = slice(None, 4) if first is bare else slice(9, None)
        assert len(joined) == 13
        assert (joined.sigma_t[absent] == torch.inf).all()
        assert (joined.instance[absent] == -1).all()
        assert joined.instance.dtype == torch.int32
    assert torch.equal(scene.concat(scene).sigma_t, scene.sigma_t.repeat(2))
    tracked = replace(scene, sigma_t=scene.sigma_t.clone().requires_grad_())
    assert tracked.concat(bare).sigma_t.requires_grad
    assert not tracked.detach().sigma_t.requires_grad


def test_the_network_refines_gaussians_and_keeps_their_lifetimes_and_instances():
    scene, _ = toy_scene()
    scene = replace(scene, sigma_t=torch.rand(len(scene)), instance=torch.arange(len(scene)).int())
    with torch.no_grad():
        refined = Flux4D(NetworkConfig(channels=(4, 8)), "cpu").eval()(scene, 1.5)
    assert torch.equal(refined.sigma_t, scene.sigma_t)
    assert torch.equal(refined.instance, scene.instance)
