"""The blending's gradients against finite differences in float64: the compiled kernels themselves, and their twin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flux4d.rasterize.blend_torch import blend as blend_torch
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.cpu.blend import blend as blend_cpu
from flux4d.rasterize.projection import project
from tests.support.scenes.rasterize_compare import BACKENDS, relative
from tests.support.scenes.rasterize_reference import CUT, STOP, blend_brute_force, pixel_grid, random_scene, sigmas

BLENDS = pytest.mark.parametrize("blend", [blend_cpu, blend_torch], ids=BACKENDS)
SIZE = (37, 21)  # six tiles of 16 x 16, most of them cut by the border
CENTERS = torch.cumsum(torch.rand(SIZE[1], generator=torch.Generator().manual_seed(0)) + 0.5, 0).double() - 1.0


def splats_of(seed: int, *, count: int, opaque: bool, size: float) -> tuple[Tensor, Tensor, RasterSettings]:
    scene = random_scene(count, *SIZE, channels=4, seed=seed, size=size)
    settings = RasterSettings(*SIZE, max_alpha=0.9)
    args = [v.detach() for v in scene.parameters(torch.float64)]
    if opaque:  # one before the other
        args[0][:, :2] *= 0.2
        args[0][:, 2] = args[0][:, 2].abs() + 1
        args[3] = args[3] * 0.04 + 0.96
    seen = project(*args[:4], args[5][0], scene.Ks[0].double(), settings)
    splats = torch.cat([seen.means2d, seen.conics, seen.opacities[:, None], args[4][seen.index]], dim=1)
    assert len(splats) >= 5
    return splats, seen.boxes, settings


def everywhere(boxes: Tensor) -> Tensor:
    """Boxes for rows that are not 1 px apart: the whole image."""
    return torch.tensor([0, SIZE[0], 0, SIZE[1]], dtype=torch.int32).expand(len(boxes), 4).contiguous()


@pytest.mark.parametrize(
    ("blend", "tolerance"), [(blend_cpu, 1e-5), (blend_torch, 1e-3)], ids=BACKENDS
)  # the twin's light is a difference of sums over the image, known to 1e-11
@pytest.mark.parametrize("rows", [None, CENTERS], ids=["pixel rows", "own rows"])
@pytest.mark.parametrize(("opaque", "seed"), [(False, 0), (False, 1), (True, 2), (True, 3)])
def test_gradcheck(blend, tolerance, rows, opaque, seed):
    splats, boxes, settings = splats_of(seed, count=20 if opaque else 12, opaque=opaque, size=1.0 if opaque else 0.5)
    boxes = boxes if rows is None else everywhere(boxes)
    if opaque:
        assert_clamped_and_stopped(splats, rows, settings)
    noise = torch.Generator().manual_seed(seed)
    mix = torch.randn(SIZE[0] * SIZE[1], 5, 6, dtype=torch.float64, generator=noise)
    mix[jumps(splats, rows, settings)] = 0

    def sums(splats: Tensor) -> Tensor:
        """Six random sums over pixels and channels: as strict as every pixel by itself, and quicker."""
        image, alpha = blend(splats, boxes, settings, rows)
        return torch.einsum("pc,pcs->s", torch.cat([image, alpha], dim=-1).flatten(0, 1), mix)

    assert torch.autograd.gradcheck(sums, splats.requires_grad_(), eps=1e-7, atol=tolerance, rtol=tolerance)


def jumps(splats: Tensor, rows: Tensor | None, settings: RasterSettings) -> Tensor:
    """Pixels so near a threshold that a finite difference may step over it. [H * W] bool"""
    parts = splats[:, :2], splats[:, 2:5], splats[:, 5], splats[:, 6:]
    near = blend_brute_force(*parts, points_of(rows), max_alpha=settings.max_alpha, doubt=1e-3)[2]
    assert near.double().mean() < 0.5
    return near


def assert_clamped_and_stopped(splats: Tensor, rows: Tensor | None, settings: RasterSettings) -> None:
    points = points_of(rows)
    raw = splats[:, 5] * torch.exp(-sigmas(splats, points[:, :1], points[:, 1:]))
    alpha = torch.where(raw >= CUT, raw.clamp(max=settings.max_alpha), 0)
    assert (raw > settings.max_alpha).any(dim=1).sum() > 10, "no alpha is clamped"
    assert ((1 - alpha).prod(dim=1) < STOP).sum() > 10, "no pixel is finished before the last splat"


def points_of(rows: Tensor | None) -> Tensor:
    points = pixel_grid(*SIZE).double() + 0.5
    if rows is not None:
        points[:, 1] = rows.repeat_interleave(SIZE[0])
    return points


@BLENDS
@pytest.mark.parametrize("opaque", [False, True])
def test_own_rows_equal_brute_force(blend, opaque):
    splats, boxes, settings = splats_of(4, count=80, opaque=opaque, size=0.15)
    ours, exact = (splats.clone().requires_grad_() for _ in range(2))
    image, alpha = blend(ours, everywhere(boxes), settings, CENTERS)
    parts = exact[:, :2], exact[:, 2:5], exact[:, 5], exact[:, 6:]
    want, want_alpha, doubtful = blend_brute_force(*parts, points_of(CENTERS), max_alpha=0.9, doubt=1e-6)
    assert not doubtful.any()
    assert alpha.max() > 0.9
    torch.testing.assert_close(image.flatten(0, 1), want, rtol=0, atol=2e-7)
    torch.testing.assert_close(alpha.flatten(), want_alpha, rtol=0, atol=2e-7)
    weight = torch.randn(want.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ((image.flatten(0, 1) * weight).sum() + (alpha.flatten() * weight[:, 0]).sum()).backward()
    ((want * weight).sum() + (want_alpha * weight[:, 0]).sum()).backward()
    assert relative(ours.grad, exact.grad) < 1e-6
