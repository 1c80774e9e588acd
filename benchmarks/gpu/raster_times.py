"""How long rasterising takes, part by part: gsplat's own functions on CUDA, projection and blending on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.raster_case import Case, rasterize_case
from benchmarks.gpu.subject import Check, Outcome, Stopwatch, difference
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.gsplat_backend import load_gsplat
from flux4d.rasterize.projection import project

TILE = 16
Parts = Callable[[Case, Stopwatch], Tensor]


def raster_times(check: Check) -> Outcome:
    """`rasterize` forward and backward in both forms, and its parts, by backend; ms.

    A part's time includes waiting for the device before and after it, which the whole call does not do: the parts add
    up to more than the whole. Each way of parts must give the image of the whole.
    """
    result: dict[str, Any] = {}
    problems: list[str] = []
    for backend, device in {check.raster_backend: check.device, "cpu": torch.device("cpu")}.items():
        case = Case.of(check, check.clip, device)
        times: dict[str, Any] = {}
        for form, packed in {"packed": True, "dense": False}.items():
            times[form] = _whole(check, case, backend, packed)
        for name, parts in _ways(backend).items():
            times[name], apart = _in_parts(check, case, backend, parts)
            if not apart <= 1e-4:
                problems.append(f"{backend}, {name}: relative L2 to the image of the whole is {apart}, more than 1e-4")
        result[backend] = times
        result |= {"gaussians": len(case.means), "width": case.width, "height": case.height}
    return check.facts(check.clip) | result, problems


def _ways(backend: str) -> dict[str, Parts]:
    if backend != "gsplat":
        return {"parts": lambda case, watch: own_parts(case, watch, backend)}
    gsplat = load_gsplat()
    return {
        f"parts_{form}": lambda case, watch, packed=packed: gsplat_parts(case, watch, gsplat, packed)  # type: ignore[misc]
        for form, packed in {"packed": True, "dense": False}.items()
    }


def _rounds(check: Check) -> range:
    return range(check.size.warmup + check.size.steps)


def _whole(check: Check, case: Case, backend: str, packed: bool) -> dict[str, Any]:
    """ms of `rasterize` and its backward pass; peak memory in MiB on CUDA."""
    device = case.means.device
    watch = Stopwatch(device)
    for step in _rounds(check):
        leaves = case.leaves()
        if device.type == "cuda" and step == check.size.warmup:
            torch.cuda.reset_peak_memory_stats(device)
        with watch.part("forward"):
            out = rasterize_case(case, leaves, backend, packed)
        with watch.part("backward"):
            torch.autograd.grad((out.features, out.alphas), leaves, (case.weights, case.weights[..., :1]))
        visible = int(out.meta.visible)
        del out
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return {"ms": watch.spread_ms(check.size.warmup), "peak_memory_mb": peak, "visible": visible}


def _in_parts(check: Check, case: Case, backend: str, parts: Parts) -> tuple[dict[str, Any], float]:
    """ms by part, and how far the image is from the whole's."""
    watch = Stopwatch(case.means.device)
    for _ in _rounds(check):
        image = parts(case, watch)
    whole = rasterize_case(case, case.leaves(), backend, packed=True).features
    apart = difference(image, whole)["relative_l2"]
    return {"ms": watch.spread_ms(check.size.warmup)}, float("nan") if apart is None else apart


def own_parts(case: Case, watch: Stopwatch, backend: str) -> Tensor:
    """Image [1, H, W, 6]; tiles and sorting by tile are part of blending here, sorting by depth of projection."""
    if backend == "cpu":
        from flux4d.rasterize.cpu.blend import blend
    else:
        from flux4d.rasterize.blend_torch import blend
    settings = RasterSettings(case.width, case.height, max_alpha=case.max_alpha)
    leaves = case.leaves()
    with watch.part("projection"):
        seen = project(*leaves[:4], case.viewmats[0], case.Ks[0], settings)
        splats = torch.cat([seen.means2d, seen.conics, seen.opacities[:, None], leaves[4][seen.index]], dim=1)
    cut = splats.detach().requires_grad_()
    with watch.part("blend"):
        image, alpha = blend(cut, seen.boxes, settings)
    with watch.part("backward_blend"):
        (gradient,) = torch.autograd.grad((image, alpha), [cut], (case.weights[0], case.weights[0, ..., :1]))
    with watch.part("backward_projection"):
        torch.autograd.grad(splats, leaves, gradient)
    return image.detach()[None]


def gsplat_parts(case: Case, watch: Stopwatch, gsplat: Any, packed: bool) -> Tensor:
    """Image [1, H, W, 6] by gsplat's own functions, in the order of its `rasterization`."""
    leaves = case.leaves()
    means, quats, scales, opacities, features = leaves
    with watch.part("projection"):
        projected = gsplat.fully_fused_projection(
            means=means,
            covars=None,
            quats=quats,
            scales=scales,
            viewmats=case.viewmats,
            Ks=case.Ks,
            width=case.width,
            height=case.height,
            packed=packed,
            opacities=opacities,
        )
        if packed:
            _, cameras, rows, radii, means2d, depths, conics, _ = projected
            drawn = [means2d, conics, features[rows], opacities[rows]]
        else:
            radii, means2d, depths, conics, _ = projected
            cameras = rows = None
            drawn = [means2d, conics, features[None], opacities[None]]
    across, down = -(-case.width // TILE), -(-case.height // TILE)
    with watch.part("tiles"):
        by_image = {"n_images": 1, "image_ids": cameras, "gaussian_ids": rows} if packed else {}
        _, intersections, order = gsplat.isect_tiles(
            means2d.detach(), radii, depths.detach(), TILE, across, down, packed=packed, **by_image
        )
        offsets = gsplat.isect_offset_encode(intersections, 1, across, down).reshape(1, down, across)
    cut = [value.detach().requires_grad_() for value in drawn]
    with watch.part("blend"):
        image, alpha = gsplat.rasterize_to_pixels(
            *cut,
            image_width=case.width,
            image_height=case.height,
            tile_size=TILE,
            isect_offsets=offsets,
            flatten_ids=order,
            packed=packed,
        )
    with watch.part("backward_blend"):
        gradients = torch.autograd.grad((image, alpha), cut, (case.weights, case.weights[..., :1]))
    with watch.part("backward_projection"):
        torch.autograd.grad(drawn, leaves, gradients)
    return image.detach()
