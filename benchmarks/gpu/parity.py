"""Does gsplat draw what the project's CPU kernels draw? Images, every channel of them, and gradients."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.raster_case import Case, max_alpha, rasterize_case
from benchmarks.gpu.subject import Check, Outcome, at_most, camera, difference, synchronise, targets, uneven
from flux4d.cameras.cameras import Cameras
from flux4d.gaussians import Gaussians
from flux4d.render import render
from store_schema.clip import Clip

PARAMETERS = ("means", "quats", "scales", "opacities", "rgb", "velocities")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
# Two float32 rasterisers may disagree about a Gaussian at the alpha threshold or about the last one of a pixel:
# rare pixels differ by a visible step. Hence the 99 % quantile, and gradients as whole vectors. Float32 against
# float64 in the CPU kernels, 512,000 Gaussians of a real clip at 960x540: p99 2e-6 in each image, relative L2 of
# 4e-4 to 5e-3 in the gradients.
RGB_P99 = ALPHA_P99 = 5e-4
DEPTH_P99 = 1e-3  # of the depth
VELOCITY_P99 = 2e-3  # m/s; the check's velocities are random, 2 m/s in each axis
GRADIENT_L2, GRADIENT_COSINE = 2e-2, 0.999
FORMS_L2 = 1e-4  # gsplat adds gradients in any order; bfloat16 would be off by 4e-3

Images = dict[str, Tensor]


def raster(check: Check) -> Outcome:
    """Toy clip and, when given, the stored clip through gsplat on CUDA and the CPU kernels."""
    clips = {"toy": check.toy} | ({} if check.reader is None else {"store": check.clip})
    result: dict[str, Any] = {"backends": [check.raster_backend, "cpu"], "max_alpha": max_alpha(check)}
    problems: list[str] = []
    for name, clip in clips.items():
        result[name], found = _raster_clip(check, clip)
        result[name]["forms"], more = _forms(check, clip)
        problems += [f"{name}: {problem}" for problem in (*found, *more)]
    return result, problems


def _raster_clip(check: Check, clip: Clip) -> Outcome:
    scene = uneven(replace(check, device=torch.device("cpu")).lift(clip))
    views = targets(clip)
    view, width = views[len(views) // 2], check.width_of(clip)
    where = {check.raster_backend: check.device, "cpu": torch.device("cpu")}
    drawn, took = {}, {}
    for backend, device in where.items():
        start = time.perf_counter()
        drawn[backend] = _drawn(scene.to(device), camera(view, width).to(device), backend, max_alpha(check))
        synchronise(device)
        took[backend] = time.perf_counter() - start
    (images, gradients), (wanted, wanted_gradients) = drawn[check.raster_backend], drawn["cpu"]
    quantiles = _image_quantiles(images, wanted)
    vectors = {
        name: difference(gradients[name], wanted_gradients[name])
        | _row_differences(gradients[name], wanted_gradients[name])
        for name in PARAMETERS
    }
    problems = at_most("rgb p99", quantiles["rgb"]["p99"], RGB_P99)
    problems += at_most("alpha p99", quantiles["alpha"]["p99"], ALPHA_P99)
    problems += at_most("relative depth p99", quantiles["depth_relative"]["p99"], DEPTH_P99)
    problems += at_most("velocity p99", quantiles["velocity"]["p99"], VELOCITY_P99)
    for name, value in vectors.items():
        problems += at_most(f"gradient of {name}, relative L2", value["relative_l2"], GRADIENT_L2)
        cosine = value["cosine"]
        problems += at_most(
            f"gradient of {name}, 1 - cosine", None if cosine is None else 1 - cosine, 1 - GRADIENT_COSINE
        )
    result = check.facts(clip) | {
        "gaussians": len(scene),
        "width": width,
        "height": int(wanted["alpha"].shape[1]),
        "covered": float((wanted["alpha"] > 0.5).double().mean()),
        "first_call_seconds": took,
        "difference": quantiles,
        "gradients": vectors,
    }
    return result, problems


def _forms(check: Check, clip: Clip) -> Outcome:
    """Packed against dense, and that autocast changes neither: the same call of one backend three times."""
    case = Case.of(check, clip, check.device)
    ways = {"dense": (False, False), "packed": (True, False), "packed_in_autocast": (True, True)}
    drawn = {}
    for name, (packed, autocast) in ways.items():
        leaves = case.leaves()
        with torch.autocast(check.device.type, dtype=torch.bfloat16, enabled=autocast):
            out = rasterize_case(case, leaves, check.raster_backend, packed)
        loss = (out.features * case.weights).sum()
        gradients = torch.autograd.grad(loss, [*leaves, out.meta.means2d])
        # Both forms hold a gradient for each splat, in another order: their norms must agree.
        drawn[name] = [out.features, torch.cat([g.flatten() for g in gradients[:-1]]), gradients[-1].norm()[None]]
    result, problems = {}, []
    for name in ("packed", "packed_in_autocast"):
        parts = zip(("features", "gradients", "means2d_gradient_norm"), drawn[name], drawn["dense"], strict=True)
        result[name] = {part: difference(value, wanted) for part, value, wanted in parts}
        for part, apart in result[name].items():
            problems += at_most(f"{name} against dense, {part}, relative L2", apart["relative_l2"], FORMS_L2)
    return result, problems


def _drawn(scene: Gaussians, cameras: Cameras, backend: str, limit: float) -> tuple[Images, Images]:
    """Images, and gradients of a fixed random sum of their pixels, on the CPU."""
    leaves = {name: getattr(scene, name).clone().requires_grad_() for name in PARAMETERS}
    out = render(replace(scene, **leaves), cameras, with_velocity=True, backend=backend, max_alpha=limit)  # type: ignore[arg-type]
    assert out.velocity is not None
    images = {"rgb": out.rgb, "alpha": out.alpha, "depth": out.depth, "velocity": out.velocity}
    # A metre counts as a hundredth of the colour range, as in the training loss, and 1 m/s as a tenth.
    signals = images | {"depth": 0.01 * out.depth, "velocity": 0.1 * out.velocity}
    g = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(value.shape, generator=g).to(value.device) for name, value in signals.items()}
    loss = torch.stack([(weights[name] * value).sum() for name, value in signals.items()]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return (
        {name: value.detach().cpu() for name, value in images.items()},
        {name: value.cpu() for name, value in zip(leaves, gradients, strict=True)},
    )


def _image_quantiles(images: Images, wanted: Images) -> dict[str, dict[str, float | None]]:
    apart = {name: (images[name].double() - wanted[name].double()).abs() for name in images}
    # 0 is no depth: where only one side has one, the Gaussian is at the threshold, and alpha tells of it.
    seen = (images["depth"] > 0) & (wanted["depth"] > 0)
    apart["depth"] = apart["depth"][seen]
    apart["depth_relative"] = apart["depth"] / wanted["depth"].double()[seen]
    return {name: _quantiles(value.numpy().reshape(-1)) for name, value in apart.items()}


def _quantiles(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(QUANTILES)
    return dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())).tolist(), strict=True))


def _row_differences(value: Tensor, reference: Tensor) -> dict[str, float | None]:
    """Relative differences of single Gaussians that matter (above a hundredth of the mean norm)."""
    value, reference = (x.double().reshape(len(x), -1) for x in (value, reference))
    norm = reference.norm(dim=1)
    rows = norm > 0.01 * norm.mean()
    quantiles = _quantiles(((value - reference).norm(dim=1)[rows] / norm[rows]).numpy())
    return {"row_relative_p50": quantiles["p50"], "row_relative_p99": quantiles["p99"]}
