"""The rasteriser against brute force, gsplat's own formulas, finite differences and itself."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from flux4d.rasterize import MAX_ALPHA, Rasterized, kernels, rasterize
from flux4d.rasterize.blend_cpu import blend as blend_cpu
from flux4d.rasterize.blend_torch import blend as blend_torch
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.gsplat_backend import gsplat_max_alpha
from flux4d.rasterize.projection import project
from tests.rasterize_reference import Scene, brute_force, random_scene

BACKENDS = ("cpu", "torch")
NAMES = ("means", "quats", "scales", "opacities", "features", "viewmats")


def draw(parameters: list[Tensor], scene: Scene, **options) -> Rasterized:
    dtype = parameters[0].dtype
    return rasterize(*parameters, scene.Ks.to(dtype), scene.width, scene.height, **options)


def relative(got: Tensor, want: Tensor) -> float:
    return ((got.double() - want.double()).norm() / want.double().norm()).item()


@pytest.fixture(params=[1, 2], ids=["1thread", "2threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("count", "width", "height", "channels", "max_alpha"),
    [(40, 37, 21, 3, 0.999), (300, 70, 45, 3, 0.999), (300, 70, 45, 3, 0.99), (60, 40, 24, 6, 0.999)],
)
def test_equals_brute_force(backend, count, width, height, channels, max_alpha):
    scene = random_scene(count, width, height, channels=channels, cameras=2, seed=count)
    exact, got = scene.parameters(torch.float64), scene.parameters()
    drawn = draw(got, scene, render_mode="RGB+D", max_alpha=max_alpha, backend=backend)
    loss, loss_exact = 0.0, 0.0
    noise = torch.Generator().manual_seed(1)
    for camera in range(2):
        image, alpha, doubtful = brute_force(
            *exact[:5], exact[5][camera], scene.Ks[camera].double(), width, height, max_alpha=max_alpha
        )
        sure = ~doubtful
        assert sure.float().mean() > 0.98
        flat, flat_alpha = drawn.features[camera].flatten(0, 1), drawn.alphas[camera].flatten()
        scale = max(1.0, scene.features.abs().max().item())
        assert (flat - image)[sure, :-1].abs().max() <= 2e-6 * scale
        assert (flat - image)[sure, -1].abs().max() <= 2e-5  # metres, at up to 10 m
        assert (flat_alpha - alpha)[sure].abs().max() <= 2e-6
        weight = torch.randn(image.shape, generator=noise) * sure[:, None]
        loss = loss + (flat * weight).sum() + (flat_alpha * weight[:, 0]).sum()
        loss_exact = loss_exact + (image * weight).sum() + (alpha * weight[:, 0]).sum()
    loss.backward()
    loss_exact.backward()
    for name, a, b in zip(NAMES, got, exact, strict=True):
        assert relative(a.grad, b.grad) <= 1e-5, name


@pytest.mark.parametrize("blend", [blend_cpu, blend_torch], ids=BACKENDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_blend_passes_gradcheck(blend, seed):
    scene = random_scene(10, 17, 6, channels=2, seed=seed, size=0.5)
    settings = RasterSettings(17, 6)
    args = [v.detach() for v in scene.parameters(torch.float64)]
    seen = project(*args[:4], args[5][0], scene.Ks[0].double(), settings)
    splats = torch.cat([seen.means2d, seen.conics, seen.opacities[:, None], args[4][seen.index]], dim=1)
    assert len(splats) >= 5
    assert torch.autograd.gradcheck(
        lambda s: blend(s, seen.boxes, settings), splats.requires_grad_(), eps=1e-6, atol=1e-5, rtol=1e-3
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_rasterize_passes_gradcheck(backend):
    scene = random_scene(6, 17, 5, channels=1, seed=5, size=0.4)

    def images(*parameters):
        drawn = draw(list(parameters), scene, render_mode="RGB+ED", backend=backend)
        return drawn.features, drawn.alphas

    # ED divides by alpha: where alpha is small its second derivative is what eps**2 multiplies
    assert torch.autograd.gradcheck(images, scene.parameters(torch.float64), eps=1e-7, atol=2e-4, rtol=1e-3)


def test_projection_equals_gsplat_in_value_and_gradient():
    oracle = pytest.importorskip("gsplat.cuda._torch_impl")
    width, height = 60, 40
    scene = random_scene(500, width, height, seed=3, size=0.4)  # large ones reach in from beyond the Jacobian's clamp
    scene = replace(scene, opacities=torch.ones(500))
    ours, theirs = scene.parameters(torch.float64), scene.parameters(torch.float64)
    K = scene.Ks.double()
    seen = project(*ours[:4], ours[5][0], K[0], RasterSettings(width, height))
    covars, _ = oracle._quat_scale_to_covar_preci(theirs[1], theirs[2], compute_preci=False)
    radii, means2d, depths, conics, _ = oracle._fully_fused_projection(theirs[0], covars, theirs[5], K, width, height)
    kept = (seen.radii > 0).all(dim=1)
    rows = seen.index[kept]
    assert set(rows.tolist()) == set((radii[0] > 0).all(dim=1).nonzero().squeeze(1).tolist())
    assert 50 < len(rows) < 450
    beyond = (seen.means2d[kept][:, 0] < -0.15 * width) | (seen.means2d[kept][:, 0] > 1.15 * width)
    assert beyond.any(), "no Gaussian tests the clamp"
    noise = torch.Generator().manual_seed(0)
    loss_ours = loss_theirs = 0.0
    for a, b in ((seen.means2d, means2d), (seen.depths, depths), (seen.conics, conics)):
        torch.testing.assert_close(a[kept], b[0, rows], rtol=1e-9, atol=1e-9)
        weight = torch.randn(a[kept].shape, generator=noise, dtype=torch.float64)
        loss_ours, loss_theirs = loss_ours + (a[kept] * weight).sum(), loss_theirs + (b[0, rows] * weight).sum()
    assert (seen.radii[kept] - radii[0, rows]).abs().max() <= 1  # theirs take 3.33 where ours take sqrt(2 ln 255)
    assert (torch.diff(seen.depths) >= 0).all()
    loss_ours.backward()
    loss_theirs.backward()
    for name, a, b in zip(NAMES, ours, theirs, strict=True):
        if name not in ("opacities", "features"):
            assert relative(a.grad, b.grad) <= 1e-9, name


def test_radii_shrink_with_opacity():
    scene = random_scene(200, 60, 40, seed=4)
    args = [v.detach() for v in scene.parameters(torch.float64)]
    settings = RasterSettings(60, 40)
    for opacity in (1.0, 0.1, 0.005, 0.0039):
        args[3] = torch.full((200,), opacity, dtype=torch.float64)
        seen = project(*args[:4], args[5][0], scene.Ks[0].double(), settings)
        kept = (seen.radii > 0).all(dim=1)
        if opacity < 1 / 255:
            assert not kept.any()
            continue
        det = 1 / (seen.conics[:, 0] * seen.conics[:, 2] - seen.conics[:, 1] ** 2)
        deviation = torch.stack([seen.conics[:, 2] * det, seen.conics[:, 0] * det], dim=1).sqrt()
        cut = min(3.33, (2 * torch.log(torch.tensor(255 * opacity, dtype=torch.float64))).sqrt().item())
        assert torch.equal(seen.radii[kept], torch.ceil(cut * deviation)[kept].int())


def test_bitwise_equal_on_repeat_and_for_any_thread_count():
    scene = random_scene(4000, 150, 90, seed=9)
    results = []
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 2, 3):
            torch.set_num_threads(count)
            parameters = scene.parameters()
            drawn = draw(parameters, scene, render_mode="RGB+ED", backend="cpu")
            drawn.features.square().sum().backward()
            results.append([drawn.features, drawn.alphas, *(p.grad for p in parameters[:5])])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_equal_depths_blend_in_row_order(threads):
    scene = random_scene(2, 20, 20, channels=3)
    parameters = scene.parameters()
    for p in (parameters[0], parameters[1], parameters[2]):
        p.data[1] = p.data[0]
    parameters[0].data[:] = torch.tensor([0.1, 0.1, 3.0])
    parameters[3].data[:] = 0.9
    parameters[4].data[:] = torch.tensor([[1.0], [0.0]]).expand(2, 3)
    first = draw(parameters, scene, backend="cpu").features.max()
    parameters[4].data[:] = torch.tensor([[0.0], [1.0]]).expand(2, 3)
    second = draw(parameters, scene, backend="cpu").features.max()
    assert first > 0.5
    assert second < 0.3


@pytest.mark.parametrize("backend", BACKENDS)
class TestDegenerate:
    def test_no_gaussian(self, backend):
        scene = random_scene(0, 20, 10)
        parameters = scene.parameters()
        drawn = draw(parameters, scene, backgrounds=torch.tensor([[0.1, 0.2, 0.3]]), backend=backend)
        assert torch.equal(drawn.features, torch.tensor([0.1, 0.2, 0.3]).expand(1, 10, 20, 3))
        drawn.features.sum().backward()
        assert parameters[0].grad.shape == (0, 3)

    def test_none_in_view(self, backend):
        scene = random_scene(20, 20, 10)
        parameters = scene.parameters()
        parameters[0].data[:, 2] = -5.0  # all behind
        drawn = draw(parameters, scene, render_mode="RGB+ED", backend=backend)
        assert not drawn.features.any()
        assert not drawn.alphas.any()
        assert drawn.meta.visible.tolist() == [0]
        (drawn.features.sum() + drawn.alphas.sum()).backward()
        assert all(not p.grad.any() for p in parameters[:5])

    def test_opacity_zero_and_one(self, backend):
        scene = random_scene(2, 33, 33, channels=3)
        parameters = scene.parameters()
        parameters[0].data[:] = torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 4.0]])
        parameters[2].data[:] = 5.0
        parameters[3].data[:] = torch.tensor([0.0, 1.0])
        drawn = draw(parameters, scene, backend=backend)
        assert drawn.meta.visible.tolist() == [1]
        assert drawn.alphas.max().item() == pytest.approx(MAX_ALPHA, abs=1e-6)
        drawn.features.sum().backward()
        assert all(p.grad.isfinite().all() for p in parameters)
        assert parameters[3].grad[0] == 0

    def test_one_pixel(self, backend):
        scene = random_scene(30, 1, 1, size=0.5)
        exact = scene.parameters(torch.float64)
        image, alpha, _ = brute_force(*exact[:5], exact[5][0], scene.Ks[0].double(), 1, 1)
        drawn = draw(scene.parameters(), scene, backend=backend)
        assert alpha.item() > 0.01
        torch.testing.assert_close(drawn.features[0, 0].double(), image[:, :-1], rtol=1e-5, atol=1e-6)

    def test_huge_and_needle_like(self, backend):
        scene = random_scene(6, 40, 30)
        parameters = scene.parameters()
        parameters[0].data[:, 2] = 4.0
        parameters[2].data[:3] = torch.tensor([[1e3, 1e3, 1e3], [1e4, 1e-4, 1e-4], [1e-6, 1e-6, 1e-6]])
        drawn = draw(parameters, scene, render_mode="RGB+ED", backend=backend)
        assert drawn.features.isfinite().all()
        assert drawn.alphas.min() > 0  # the huge one covers all
        (drawn.features.sum() + drawn.alphas.sum()).backward()
        assert all(p.grad.isfinite().all() for p in parameters)

    def test_many_on_one_pixel_stop_when_dark(self, backend):
        count = 3000
        scene = random_scene(count, 20, 20, channels=3)
        parameters = scene.parameters()
        parameters[0].data[:] = torch.tensor([0.0, 0.0, 3.0]) + torch.linspace(0, 1, count)[:, None] * torch.tensor(
            [0, 0, 1.0]
        )
        parameters[2].data[:] = 0.02
        parameters[3].data[:] = 0.5
        exact = [p.detach().double() for p in parameters]
        image, alpha, doubtful = brute_force(*exact[:5], exact[5][0], scene.Ks[0].double(), 20, 20)
        drawn = draw(parameters, scene, backend=backend)
        sure = ~doubtful
        assert alpha.max() > 0.9998
        assert (drawn.alphas.flatten() - alpha)[sure].abs().max() < 2e-6
        assert (drawn.features.flatten(0, 2) - image[:, :3])[sure].abs().max() < 4e-6
        drawn.features.sum().backward()
        assert not parameters[4].grad[2000:].any()  # nothing reaches the last ones

    def test_near_and_far_plane(self, backend):
        scene = random_scene(3, 20, 20)
        parameters = scene.parameters()
        parameters[0].data[:] = torch.tensor([[0, 0, 1.0], [0, 0, 2.0], [0, 0, 3.0]])
        parameters[3].data[:] = 0.5
        parameters[5].data[:] = torch.eye(4)
        drawn = draw(parameters, scene, near_plane=1.5, far_plane=2.5, backend=backend)
        assert (drawn.meta.radii[0, :, 0] > 0).tolist() == [False, True, False]

    def test_bad_values_are_named(self, backend):
        scene = random_scene(5, 20, 20)
        for position, name in enumerate(NAMES[:5]):
            parameters = [p.detach() for p in scene.parameters()]
            parameters[position][3] = torch.nan
            with pytest.raises(ValueError, match=rf"{name} of 1 Gaussians is not finite, first row 3"):
                draw(parameters, scene, backend=backend)
        parameters = [p.detach() for p in scene.parameters()]
        parameters[1][2] = 0
        with pytest.raises(ValueError, match="norm zero, first row 2"):
            draw(parameters, scene, backend=backend)


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
    radii = draw(parameters, scene, backend="cpu").meta.radii[0]
    clipped = draw(parameters, scene, radius_clip=4.0, backend="cpu").meta.radii[0]
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


class _Renders(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        scene = random_scene(200, 50, 40, seed=index)
        parameters = scene.parameters()
        draw(parameters, scene, backend="cpu").features.square().sum().backward()
        return parameters[0].grad


def test_works_in_forked_workers(threads):
    here = [_Renders()[i] for i in range(2)]  # starts this process's threads first
    there = list(DataLoader(_Renders(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60))
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize("kernel", [kernels.forward, kernels.backward], ids=["forward", "backward"])
def test_compiled_kernels_are_vectorised(kernel):
    scene = random_scene(50, 40, 30)
    draw(scene.parameters(), scene, backend="cpu").features.sum().backward()
    signature = next(s for s in kernel.signatures if "float32" in str(s))
    options = {**kernel.targetoptions, "fastmath": {"contract", "nsz"}}
    fresh = njit(**{name: value for name, value in options.items() if name != "nopython"})(kernel.py_func)
    fresh.compile(signature)  # numba shows no assembly of cached code
    assembly = fresh.inspect_asm(signature)
    if "%rax" not in assembly:
        pytest.skip("not an x86 processor")
    assert len(re.findall(r"%[yz]mm", assembly)) > 200
    # a call to another piece would bind to whichever copy is loaded first
    called = set(re.findall(r"\$_ZN6flux4d9rasterize7kernels\d+([a-z_]+)", assembly))
    assert called <= {kernel.py_func.__name__}


def test_exp_polynomial():
    sigma = np.linspace(0, 5.55, 2001)
    k = kernels.constants(np.dtype(np.float64), MAX_ALPHA)
    error = np.array([kernels.exp_minus(s, k) for s in sigma]) / np.exp(-sigma) - 1
    assert np.abs(error).max() < 2e-8
    assert kernels.exp_minus(1e30, k) < 1 / 255
