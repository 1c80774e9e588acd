"""Motion formulas against finite differences and against straight lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flux4d.gaussians import Gaussians
from flux4d.motion import move, velocity_at


def make(terms: int, dtype: torch.dtype = torch.float64, count: int = 20) -> Gaussians:
    g = torch.Generator().manual_seed(terms)
    return Gaussians(
        means=torch.randn(count, 3, generator=g, dtype=dtype),
        quats=torch.randn(count, 4, generator=g, dtype=dtype),
        scales=torch.rand(count, 3, generator=g, dtype=dtype),
        opacities=torch.rand(count, generator=g, dtype=dtype),
        rgb=torch.rand(count, 3, generator=g, dtype=dtype),
        times=torch.rand(count, generator=g, dtype=dtype),
        velocities=torch.randn(count, terms, 3, generator=g, dtype=dtype) * 10,
        is_sky=torch.arange(count) % 5 == 0,
        source=torch.arange(count),
    )


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_velocity_is_the_derivative_of_motion(terms):
    scene = make(terms)
    for time in (-0.3, 0.0, 0.7, 1.5):
        difference = (move(scene, time + 1e-5) - move(scene, time - 1e-5)) / 2e-5
        torch.testing.assert_close(velocity_at(scene, time), difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_at_its_own_time_a_gaussian_is_at_its_mean(terms):
    scene = make(terms)
    assert torch.equal(move(scene, scene.times), scene.means)


def test_one_term_is_linear_motion():
    scene = make(1)
    want = scene.means + scene.velocities[:, 0] * (1.25 - scene.times)[:, None]
    want[scene.is_sky] = scene.means[scene.is_sky]
    torch.testing.assert_close(move(scene, 1.25), want)
    torch.testing.assert_close(move(scene, torch.tensor(1.25, dtype=torch.float64)), want)


def test_two_terms_by_hand():
    scene = make(2, count=1)
    scene = Gaussians(
        means=torch.tensor([[1.0, 2.0, 3.0]]),
        quats=scene.quats,
        scales=scene.scales,
        opacities=scene.opacities,
        rgb=scene.rgb,
        times=torch.tensor([0.5]),
        velocities=torch.tensor([[[2.0, 0.0, 0.0], [4.0, 0.0, -1.0]]]),
        is_sky=torch.tensor([False]),
        source=scene.source,
    )
    # 2 (1.5 - .5) + 4 (2.25 - .25) / 2 = 6; -1 (2.25 - .25) / 2 = -1
    torch.testing.assert_close(move(scene, 1.5), torch.tensor([[7.0, 2.0, 2.0]]))
    torch.testing.assert_close(velocity_at(scene, 1.5), torch.tensor([[8.0, 0.0, -1.5]]))


def test_three_terms_by_hand():
    scene = make(3, count=1)
    velocities = torch.tensor([[[1.0, 0.0, -2.0], [0.0, 4.0, 0.0], [3.0, -6.0, 0.0]]], dtype=torch.float64)
    values = {"means": torch.zeros_like(scene.means), "times": torch.ones_like(scene.times), "velocities": velocities}
    scene = replace(scene, **values, is_sky=torch.tensor([False]))
    # v0 (2 - 1) + v1 (4 - 1) / 2 + v2 (8 - 1) / 3
    torch.testing.assert_close(move(scene, 2.0), torch.tensor([[1 + 7.0, 6 - 14.0, -2.0]], dtype=torch.float64))
    # v0 + 2 v1 + 4 v2
    torch.testing.assert_close(velocity_at(scene, 2.0), torch.tensor([[13.0, -16.0, -2.0]], dtype=torch.float64))


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_gradients_of_motion_and_velocity(terms):
    scene = make(terms, count=6)
    leaves = [value.clone().requires_grad_() for value in (scene.means, scene.times, scene.velocities)]
    time = torch.linspace(-0.2, 1.5, 6, dtype=torch.float64).requires_grad_()

    def moved(means, times, velocities, time):
        at = replace(scene, means=means, times=times, velocities=velocities)
        return move(at, time), velocity_at(at, time)

    assert torch.autograd.gradcheck(moved, (*leaves, time))


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_a_time_for_each_gaussian(terms):
    scene = make(terms)
    times = torch.linspace(-0.2, 1.5, 20, dtype=torch.float64)
    for row, time in enumerate(times.tolist()):
        torch.testing.assert_close(move(scene, times)[row], move(scene, time)[row])
        torch.testing.assert_close(velocity_at(scene, times)[row], velocity_at(scene, time)[row])


def test_sky_never_moves():
    scene = make(2)
    assert torch.equal(move(scene, 9.0)[scene.is_sky], scene.means[scene.is_sky])
    assert not velocity_at(scene, 9.0)[scene.is_sky].any()
    assert (move(scene, 9.0) != scene.means)[~scene.is_sky].all()


def test_motion_is_differentiable_and_sky_gets_no_velocity_gradient():
    scene = make(2)
    scene.velocities.requires_grad_()
    scene.means.requires_grad_()
    move(scene, 0.9).sum().backward()
    assert not scene.velocities.grad[scene.is_sky].any()
    want = torch.stack([0.9 - scene.times, (0.81 - scene.times**2) / 2], dim=1)[:, :, None].expand(-1, -1, 3)
    torch.testing.assert_close(scene.velocities.grad[~scene.is_sky], want[~scene.is_sky])
    assert torch.equal(scene.means.grad, torch.ones_like(scene.means))
