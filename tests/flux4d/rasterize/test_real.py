"""The rasteriser against brute force, and against itself, on 200,000 Gaussians of the real slice."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from flux4d.rasterize.blend_torch import blend as blend_torch
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.cpu.blend import blend as blend_cpu
from flux4d.rasterize.projection import Projected, project
from tests.support.scenes.rasterize_compare import NAMES, draw, relative
from tests.support.scenes.rasterize_reference import Scene, blend_brute_force, brute_force
from tests.support.scenes.real_gaussians import real_scene

COUNT, WIDTH = 200_000, 1920
WINDOW = (800, 430, 331, 190)  # of the same image; no whole number of tiles
SMALL_WINDOW = (840, 460, 90, 61)


def crowded(seen: Projected, scene: Scene, count: int) -> Tensor:
    """Pixels with the most splats on them. [count, 2]"""
    change = torch.zeros(scene.height + 1, scene.width + 1, dtype=torch.int64)
    x0, x1, y0, y1 = seen.boxes.long().T
    one = torch.ones(len(x0), dtype=torch.int64)
    for x, y, sign in ((x0, y0, 1), (x1, y0, -1), (x0, y1, -1), (x1, y1, 1)):
        change.index_put_((y, x), sign * one, accumulate=True)
    splats = change.cumsum(0).cumsum(1)[: scene.height, : scene.width]
    most = splats.flatten().argsort(descending=True)[:count]
    return torch.stack([most % scene.width, most // scene.width], dim=1)


def some_pixels(seen: Projected, scene: Scene, count: int) -> Tensor:
    g = torch.Generator().manual_seed(0)
    anywhere = [torch.randint(0, size, (count,), generator=g) for size in (scene.width, scene.height)]
    return torch.cat([torch.stack(anywhere, dim=1), crowded(seen, scene, 30)])


@dataclass(frozen=True)
class Losses:
    """Random weighted sums over pixels: of features and alphas, and of depths."""

    features: Tensor
    depths: Tensor

    @classmethod
    def of(cls, image: Tensor, alpha: Tensor, sure: Tensor) -> Losses:
        weight = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)) * sure[:, None]
        features = (image[:, :-1] * weight[:, :-1]).sum() + (alpha * weight[:, -1]).sum()
        return cls(features, (image[:, -1] * weight[:, 0]).sum())


@pytest.mark.parametrize(
    ("blend", "window", "count"),
    [(blend_cpu, None, 1000), (blend_cpu, WINDOW, 300), (blend_torch, SMALL_WINDOW, 200)],
    ids=["cpu", "cpu-window", "torch-window"],
)
def test_blend_equals_brute_force(blend, window, count):
    """Of the same float32 splats: what is measured is the blending alone."""
    scene = real_scene(COUNT, WIDTH, window=window)
    parameters = [p.detach() for p in scene.parameters()]
    settings = RasterSettings(scene.width, scene.height)
    seen = project(*parameters[:4], parameters[5][0], scene.Ks[0], settings)
    pixels = some_pixels(seen, scene, count)
    columns = [seen.means2d, seen.conics, seen.opacities[:, None], parameters[4][seen.index], seen.depths[:, None]]
    splats = torch.cat(columns, dim=1).requires_grad_()
    exact = splats.detach().double().requires_grad_()

    full, full_alpha = blend(splats, seen.boxes, settings)
    got, got_alpha = full[pixels[:, 1], pixels[:, 0]], full_alpha[pixels[:, 1], pixels[:, 0], 0]
    image, alpha, doubtful = blend_brute_force(exact[:, :2], exact[:, 2:5], exact[:, 5], exact[:, 6:], pixels + 0.5)
    sure = ~doubtful
    assert sure.double().mean() > 0.98
    assert (alpha > 0.5).double().mean() > 0.5
    assert (got - image)[sure, :-1].abs().max() <= 1e-6
    assert (got_alpha - alpha)[sure].abs().max() <= 1e-6
    assert (got - image)[sure, -1].abs().max() <= 1e-4

    ours, theirs = Losses.of(got, got_alpha, sure), Losses.of(image, alpha, sure)
    for loss, loss_exact in ((ours.features, theirs.features), (ours.depths, theirs.depths)):
        (grad,) = torch.autograd.grad(loss, splats, retain_graph=True)
        (grad_exact,) = torch.autograd.grad(loss_exact, exact, retain_graph=True)
        parts = {"means2d": slice(2), "conics": slice(2, 5), "opacities": slice(5, 6), "features": slice(6, None)}
        errors = {name: relative(grad[:, part], grad_exact[:, part]) for name, part in parts.items()}
        assert all(error <= 1e-5 for error in errors.values()), errors


@dataclass(frozen=True)
class Errors:
    """Largest errors of a rendering, and relative L2 errors of its gradients."""

    features: float
    alphas: float
    depths: float
    gradients: dict[str, float]


def chain_errors(dtype: torch.dtype, window: tuple[int, int, int, int] | None, count: int, doubt: float) -> Errors:
    """From means, quaternions and scales to pixels, against brute force in float64."""
    scene = real_scene(COUNT, WIDTH, window=window)
    exact, got = scene.parameters(torch.float64), scene.parameters(dtype)
    with torch.no_grad():
        seen = project(*got[:4], got[5][0], scene.Ks[0].to(dtype), RasterSettings(scene.width, scene.height))
    pixels = some_pixels(seen, scene, count)
    K = scene.Ks[0].double()
    image, alpha, doubtful = brute_force(
        *exact[:5], exact[5][0], K, scene.width, scene.height, pixels=pixels, doubt=doubt
    )
    sure = ~doubtful
    assert sure.double().mean() > 0.95
    drawn = draw(got, scene, render_mode="RGB+D", backend="cpu")
    flat, flat_alpha = (v[0, pixels[:, 1], pixels[:, 0]] for v in (drawn.features, drawn.alphas[..., 0]))
    Losses.of(flat, flat_alpha, sure).features.backward()
    Losses.of(image, alpha, sure).features.backward()
    error = (flat - image)[sure].detach().abs()
    return Errors(
        error[:, :-1].max().item(),
        (flat_alpha - alpha)[sure].detach().abs().max().item(),
        error[:, -1].max().item(),
        {name: relative(a.grad, b.grad) for name, a, b in zip(NAMES, got, exact, strict=True)},
    )


WINDOW_AND_FULL = pytest.mark.parametrize(
    ("window", "count"), [(WINDOW, 300), pytest.param(None, 1000, marks=pytest.mark.slow)], ids=["window", "full"]
)


@WINDOW_AND_FULL
def test_whole_chain_equals_brute_force_in_float64(window, count):
    errors = chain_errors(torch.float64, window, count, doubt=1e-6)
    assert max(errors.features, errors.alphas) <= 1e-7
    assert errors.depths <= 1e-5
    assert max(errors.gradients.values()) <= 1e-6, errors.gradients


@WINDOW_AND_FULL
def test_whole_chain_in_float32_differs_by_the_rounding_of_the_projection(window, count):
    """float32 knows pixel 1500 to 1e-4, and a splat's falloff changes by up to 1 a pixel."""
    errors = chain_errors(torch.float32, window, count, doubt=1e-4)
    assert errors.features <= 5e-4
    assert errors.alphas <= 5e-6
    assert errors.depths <= 5e-4
    assert max(errors.gradients.values()) <= 2e-3, errors.gradients


def test_bitwise_equal_on_repeat_and_for_any_thread_count():
    scene = real_scene(COUNT, WIDTH // 2)
    results = {}
    before = torch.get_num_threads()
    try:
        for run, count in (("one", 1), ("two", 2), ("two again", 2), ("three", 3)):
            torch.set_num_threads(count)
            parameters = scene.parameters()
            drawn = draw(parameters, scene, render_mode="RGB+ED", backend="cpu")
            (drawn.features.square().sum() + drawn.alphas.sum()).backward()
            gradients = {name: p.grad for name, p in zip(NAMES, parameters, strict=True)}
            results[run] = {"images": drawn.features, "alphas": drawn.alphas, "radii": drawn.meta.radii, **gradients}
    finally:
        torch.set_num_threads(before)
    assert all(value.any() for value in results["one"].values())
    assert different(results["two"], results["two again"]) == []
    for run in ("two", "three"):
        assert different(results["one"], results[run]) == []


def different(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a if not torch.equal(a[name], b[name])]
