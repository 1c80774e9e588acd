"""The rasteriser's values and gradients on random scenes: brute force, finite differences, its backends, its words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flux4d.rasterize import MAX_ALPHA
from flux4d.rasterize.gsplat_backend import gsplat_max_alpha
from tests.support.scenes.rasterize_compare import BACKENDS, draw, relative, same_as_brute_force
from tests.support.scenes.rasterize_reference import random_scene


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("count", "width", "height", "channels", "max_alpha"),
    [(40, 37, 21, 3, 0.999), (300, 70, 45, 3, 0.999), (300, 70, 45, 3, 0.99), (60, 40, 24, 6, 0.999)],
)
def test_equals_brute_force(backend, count, width, height, channels, max_alpha):
    scene = random_scene(count, width, height, channels=channels, cameras=2, seed=count)
    same_as_brute_force(scene, backend, max_alpha=max_alpha)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rasterize_passes_gradcheck(backend):
    scene = random_scene(6, 17, 5, channels=1, seed=5, size=0.4)

    def images(*parameters):
        drawn = draw(list(parameters), scene, render_mode="RGB+ED", backend=backend)
        return drawn.features, drawn.alphas

    # ED divides by alpha: where alpha is small its second derivative is what eps**2 multiplies
    assert torch.autograd.gradcheck(images, scene.parameters(torch.float64), eps=1e-7, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("mode", ["RGB", "D", "ED", "RGB+D", "RGB+ED"])
def test_render_modes_and_background(mode):
    scene = random_scene(80, 40, 30, cameras=2, seed=2)
    parameters = [p.detach() for p in scene.parameters()]
    background = torch.tensor([[0.2, 0.4, 0.6], [0.1, 0.3, 0.5]])
    full = draw(parameters, scene, render_mode="RGB+D", backend="cpu")
    got = draw(parameters, scene, render_mode=mode, backgrounds=background, backend="cpu").features
    rgb = full.features[..., :3] + (1 - full.alphas) * background[:, None, None]
    depth = full.features[..., 3:]
    if "ED" in mode:
        depth = depth / full.alphas.clamp(min=1e-10)
    parts = {"RGB": [rgb], "D": [depth], "ED": [depth]}.get(mode, [rgb, depth])
    assert torch.equal(got, torch.cat(parts, dim=-1))


def test_cpu_equals_torch_for_many_channels():
    scene = random_scene(100, 50, 33, channels=11, seed=8)
    a, b = scene.parameters(), scene.parameters()
    image_a, image_b = (draw(p, scene, backend=name).features for p, name in ((a, "cpu"), (b, "torch")))
    torch.testing.assert_close(image_a, image_b, rtol=1e-5, atol=4e-6)
    for p, image in ((a, image_a), (b, image_b)):
        image.square().sum().backward()
        assert p[0].grad.any()
    for x, y in zip(a, b, strict=True):
        assert relative(x.grad, y.grad) < 1e-5


def test_radius_clip_leaves_out_small_ones():
    scene = random_scene(200, 60, 40, seed=6)
    parameters = [p.detach() for p in scene.parameters()]
    radii = draw(parameters, scene, packed=False, backend="cpu").meta.radii[0]
    clipped = draw(parameters, scene, radius_clip=4.0, packed=False, backend="cpu").meta.radii[0]
    assert torch.equal(clipped, torch.where((radii > 4).any(dim=1, keepdim=True), radii, 0))
    assert (clipped > 0).any()
    assert (clipped != radii).any()


def test_wrong_arguments_say_what_to_do():
    scene = random_scene(5, 20, 20)
    parameters = [p.detach() for p in scene.parameters()]
    with pytest.raises(ValueError, match="needs CUDA tensors"):
        draw(parameters, scene, backend="gsplat")
    with pytest.raises(ValueError, match="backend 'cuda' is not one of"):
        draw(parameters, scene, backend="cuda")
    with pytest.raises(ValueError, match="render_mode 'rgb' is not one of"):
        draw(parameters, scene, render_mode="rgb")
    with pytest.raises(ValueError, match="max_alpha must lie between"):
        draw(parameters, scene, max_alpha=1.0)
    with pytest.raises(ValueError, match=r"scales must have shape \(5, 3\), got \(4, 3\)"):
        draw([*parameters[:2], parameters[2][:4], *parameters[3:]], scene)
    with pytest.raises(ValueError, match="convert one"):
        draw([parameters[0].double(), *parameters[1:]], scene)
    with pytest.raises(ValueError, match="image size 0x20"):
        draw(parameters, replace(scene, width=0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rendered_in_float32(dtype):
    scene = random_scene(40, 30, 20)
    half = scene.parameters(dtype)
    single = [p.detach().float().requires_grad_() for p in half]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drawn = draw(half, scene, render_mode="RGB+ED")
    want = draw(single, scene.__class__(**{**scene.__dict__, "Ks": scene.Ks.to(dtype).float()}), render_mode="RGB+ED")
    assert drawn.features.dtype == torch.float32
    assert torch.equal(drawn.features, want.features)
    drawn.features.sum().backward()
    want.features.sum().backward()
    for a, b in zip(half, single, strict=True):
        assert torch.equal(a.grad, b.grad.to(dtype))


def test_gsplat_versions_have_their_own_max_alpha():
    assert gsplat_max_alpha("1.5.3") == MAX_ALPHA
    assert gsplat_max_alpha("1.6.0") == 0.99
    assert gsplat_max_alpha("2.0.0rc1") == 0.99
