"""The network: starts as the identity, respects its bounds, is differentiable, and learns on the toy clip."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from flux4d.gaussians import Gaussians
from flux4d.lift.scene import SceneConfig, clip_duration, lift_clip
from flux4d.lift.sky import SkyConfig
from flux4d.network.model import Flux4D, NetworkConfig, small
from flux4d.network.voxelize import VoxelConfig
from flux4d.reconstruct import reconstruct
from flux4d.render import render
from flux4d.supervision.losses.total import LossConfig, view_loss
from flux4d.supervision.target import make_target
from store_schema.clip import Clip
from tests.support.scenes.crossing import CROSSING_VELOCITY, SKY, crossing_clip, moving_rows
from tests.support.scenes.toy import make_clip

SCENE = SceneConfig(sky=SkyConfig(spacing=0.02), scale_factor=1.0)
TINY = NetworkConfig(channels=(8, 12), blocks=1, head_width=16, voxels=VoxelConfig(size=0.5))
FIELDS = ("means", "quats", "scales", "opacities", "rgb", "velocities")


def disturb(network: Flux4D, size: float) -> Flux4D:
    """Give the zero-started heads some weights."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for head in (network.residual_head, network.velocity_head):
            head.out.weight.copy_(torch.randn(head.out.weight.shape, generator=generator) * size)
    return network


@pytest.mark.parametrize("norm", ["batch", "clip", "layer"])
@pytest.mark.parametrize("training", [True, False])
def test_starts_as_the_lifted_scene(norm: Any, training: bool) -> None:
    scene = lift_clip(make_clip(), SCENE)
    rgb = scene.rgb.clone()
    rgb[0], rgb[1] = 0.0, 1.0  # the only change allowed: logits of 0 and 1 are kept finite
    out = Flux4D(replace(TINY, norm=norm)).train(training)(replace(scene, rgb=rgb), 1.0)
    for name in ("means", "quats", "scales", "velocities", "times", "is_sky", "source"):
        assert torch.equal(getattr(out, name), getattr(scene, name)), name
    torch.testing.assert_close(out.opacities, scene.opacities, atol=1e-6, rtol=0)
    torch.testing.assert_close(out.rgb[2:], scene.rgb[2:], atol=1e-6, rtol=0)
    torch.testing.assert_close(out.rgb[:2], rgb[:2], atol=1.0 / 512, rtol=0)


def test_outputs_stay_in_their_bounds_and_the_sky_stays_put() -> None:
    scene = lift_clip(make_clip(), SCENE)
    out = disturb(Flux4D(replace(TINY, motion_order=1)), 30.0)(scene, 1.0)
    near, sky = ~scene.is_sky, scene.is_sky
    assert out.velocities.shape == (len(scene), 2, 3)
    assert torch.equal(out.means[sky], scene.means[sky])
    assert not out.velocities[sky].any()
    shift = (out.means - scene.means)[near].abs()
    assert 0.3 < float(shift.detach().max()) <= 0.5 + 1e-4  # one voxel of 0.5 m
    assert float(out.scales[near].detach().min()) >= 1e-3
    assert float(out.scales[near].detach().max()) <= 1.0
    ratio = (out.scales / scene.scales)[sky].detach()
    assert float(ratio.min()) >= 0.25 - 1e-6
    assert float(ratio.max()) <= 4.0 + 1e-6
    for name in ("opacities", "rgb"):
        assert bool(((getattr(out, name) >= 0) & (getattr(out, name) <= 1)).all())
    torch.testing.assert_close(out.quats.norm(dim=1), torch.ones(len(scene)))


def test_input_velocities_are_ignored_and_gradients_reach_every_weight() -> None:
    scene = lift_clip(make_clip(), SCENE)
    network = disturb(Flux4D(TINY), 0.05)
    out = network(scene, 1.0)
    other = network(replace(scene, velocities=torch.ones_like(scene.velocities)), 1.0)
    assert all(torch.equal(getattr(out, name), getattr(other, name)) for name in FIELDS)
    generator = torch.Generator().manual_seed(0)
    loss = sum(
        ((getattr(out, name)) * torch.randn(getattr(out, name).shape, generator=generator)).sum() for name in FIELDS
    )
    assert isinstance(loss, Tensor)
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.any()), name


def test_same_seed_same_network_whatever_was_drawn_before() -> None:
    first = Flux4D(TINY)
    torch.rand(7)
    state = torch.get_rng_state()
    second, other = Flux4D(TINY), Flux4D(replace(TINY, seed=1))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert not torch.equal(first.residual_head.hidden.weight, other.residual_head.hidden.weight)
    plain = Flux4D(replace(TINY, conv_backend="torch"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), plain.parameters(), strict=True))
    assert len(state) == len(torch.get_rng_state())


def test_order_of_gaussians_does_not_matter() -> None:
    scene = lift_clip(make_clip(), SCENE)
    network = disturb(Flux4D(TINY), 0.1)
    shuffle = torch.randperm(len(scene), generator=torch.Generator().manual_seed(4))
    straight, shuffled = network(scene, 1.0).detach(), network(scene.select(shuffle), 1.0).detach()
    for name in FIELDS:
        torch.testing.assert_close(getattr(straight, name)[shuffle], getattr(shuffled, name), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("norm", ["clip", "layer"])
def test_evaluation_computes_what_training_did(norm: Any) -> None:
    """What "batch" does not promise: the rendered network is the trained one."""
    scene = lift_clip(make_clip(), SCENE)
    network = disturb(Flux4D(replace(TINY, norm=norm)), 0.1)
    trained, evaluated = network.train()(scene, 1.0), network.eval()(scene, 1.0)
    assert all(torch.equal(getattr(trained, name), getattr(evaluated, name)) for name in FIELDS)


@pytest.mark.parametrize("norm", ["batch", "clip", "layer"])
def test_one_gaussian_is_a_scene(norm: Any) -> None:
    scene = lift_clip(make_clip(), SCENE).select(torch.tensor([0]))
    out = disturb(Flux4D(replace(TINY, norm=norm)), 0.1).train()(scene, 1.0)
    assert all(bool(torch.isfinite(getattr(out, name)).all()) for name in FIELDS)


def test_network_can_be_copied() -> None:
    scene = lift_clip(make_clip(), SCENE)
    network = disturb(Flux4D(TINY), 0.1)
    twin = copy.deepcopy(network)
    assert torch.equal(network(scene, 1.0).means, twin(scene, 1.0).means)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ()}, "all must be positive"),
        ({"norm": "group"}, "use 'batch', 'clip' or 'layer'"),
        ({"motion_order": -1}, "motion_order=-1: use 0"),
        ({"motion_order": 9}, "motion_order=9: use 0"),
        ({"max_offset": 0.0}, "use positive values"),
    ],
)
def test_bad_settings_name_a_good_one(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**change)


def test_duration_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"duration=0\.0 s"):
        Flux4D(TINY)(lift_clip(make_clip(), SCENE), 0.0)


def test_reconstruct_modes() -> None:
    clip = make_clip()
    network = disturb(Flux4D(replace(TINY, norm="batch")), 0.1).train()
    buffers = [buffer.clone() for buffer in network.buffers()]
    moving, frozen = reconstruct(clip, network, SCENE), reconstruct(clip, network, SCENE, static=True)
    assert network.training
    assert all(torch.equal(a, b) for a, b in zip(buffers, network.buffers(), strict=True))
    assert moving.velocities.any()
    assert not moving.means.requires_grad
    assert not frozen.velocities.any()
    assert torch.equal(moving.means, frozen.means)


def psnr(clip: Clip, gaussians: Gaussians) -> float:
    """Mean PSNR in dB over the interpolation targets."""
    values = []
    for view in clip.views_of("interpolation"):
        target = make_target(view, None, torch.device("cpu"))
        error = (render(gaussians, target.cameras).rgb[0] - target.rgb).square().mean()
        values.append(-10.0 * math.log10(float(error)))
    return sum(values) / len(values)


@pytest.mark.slow
def test_learns_picture_and_motion_of_a_crossing_box() -> None:
    """60 steps at the paper's loss weights, without a label: the picture, and the box's velocity."""
    clip = crossing_clip()
    scene = SceneConfig(sky=SKY, scale_factor=1.0)
    gaussians, duration = lift_clip(clip, scene), clip_duration(clip)
    network = Flux4D(small(voxels=VoxelConfig(size=0.5)))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    targets = [make_target(view, None, torch.device("cpu")) for view in clip.views_of("interpolation")]
    totals = []
    for step in range(60):
        target = targets[step % len(targets)]
        refined = network(gaussians, duration)
        image = render(refined, target.cameras)
        losses = view_loss(image, target, refined, LossConfig())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    result = reconstruct(clip, network, scene)
    before, after = psnr(clip, gaussians), psnr(clip, result)
    assert sum(totals[-5:]) < 0.5 * sum(totals[:5])
    assert after > before + 6.0, (before, after)
    assert after > psnr(clip, result.static()) + 3.0
    on_box = moving_rows(clip, result)
    velocity = result.velocities[on_box, 0].mean(dim=0)
    torch.testing.assert_close(velocity, torch.tensor(CROSSING_VELOCITY).float(), atol=1.5, rtol=0)
    assert float(result.velocities[~on_box & ~result.is_sky, 0].norm(dim=1).mean()) < 0.2 * float(velocity.norm())
