"""Time of the CPU rasteriser against its plain PyTorch twin, forward and backward, interleaved in one run.

Run with ``python -m benchmarks.rasterize [--quick] [--json]``. The scene is a made street around the camera
(ground, two walls), seen by a front camera; about a third of the Gaussians is in view.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time

import torch
from torch import Tensor

from flux4d.rasterize import rasterize

Scene = dict[str, Tensor]


def street(count: int) -> Scene:
    """Points of a street in camera axes with the spacing of a LiDAR: scale grows with range."""
    g = torch.Generator().manual_seed(0)
    angle = torch.rand(count, generator=g) * 2 * torch.pi
    distance = 4 * torch.exp(torch.rand(count, generator=g) * 3)
    x, z = distance * torch.sin(angle), distance * torch.cos(angle)
    y = torch.full_like(x, 1.8)
    wall = x.abs() > 12
    y[wall] = 1.8 - 6 * torch.rand(int(wall.sum()), generator=g)
    x = x.clamp(-12, 12)
    return {
        "means": torch.stack([x, y, z], dim=1),
        "quats": torch.randn(count, 4, generator=g),
        "scales": 0.006 * distance[:, None] * torch.exp(0.3 * torch.randn(count, 3, generator=g)),
        "opacities": 0.3 + 0.69 * torch.rand(count, generator=g),
        "features": torch.rand(count, 6, generator=g),
    }


def seconds(scene: Scene, width: int, backend: str) -> tuple[float, float, int]:
    """Wall seconds of one forward and one backward pass, and how many Gaussians were seen."""
    height = width * 9 // 16
    K = torch.tensor([[[1.03 * width, 0, width / 2], [0, 1.03 * width, height / 2], [0, 0, 1]]])
    leaves = {name: value.clone().requires_grad_() for name, value in scene.items()}
    start = time.perf_counter()
    out = rasterize(
        **leaves, viewmats=torch.eye(4)[None], Ks=K, width=width, height=height, render_mode="RGB+ED", backend=backend
    )
    middle = time.perf_counter()
    (out.features.sum() + out.alphas.sum()).backward()
    return middle - start, time.perf_counter() - middle, int(out.meta.visible)


def compare(count: int, width: int, repeats: int) -> dict[str, object]:
    """Medians, smallest and largest of both backends and of the ratio within each repeat."""
    scene = street(count)
    seconds(scene, width, "cpu")  # compile
    rows = [(seconds(scene, width, "torch"), seconds(scene, width, "cpu")) for _ in range(repeats)]
    both = {
        "torch_ms": [1e3 * (plain[0] + plain[1]) for plain, _ in rows],
        "cpu_ms": [1e3 * (fast[0] + fast[1]) for _, fast in rows],
        "cpu_forward_ms": [1e3 * fast[0] for _, fast in rows],
        "ratio": [(plain[0] + plain[1]) / (fast[0] + fast[1]) for plain, fast in rows],
    }
    spread = {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in both.items()
    }
    return {"gaussians": count, "visible": rows[0][1][2], "width": width, "repeats": repeats, **spread}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small scene, seconds instead of minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args()
    cases = [(20_000, 240, 3)] if args.quick else [(20_000, 240, 5), (200_000, 480, 5), (200_000, 960, 5)]
    results = [compare(*case) for case in cases]
    for row in results:
        print(f"{row['gaussians']} Gaussians ({row['visible']} in view), {row['width']} px wide, forward + backward:")
        for name in ("cpu_ms", "cpu_forward_ms", "torch_ms", "ratio"):
            value = row[name]
            assert isinstance(value, dict)
            print(f"  {name:15} median {value['median']:8.1f}   min {value['min']:8.1f}   max {value['max']:8.1f}")
    if args.json:
        ratio = results[-1]["ratio"]
        assert isinstance(ratio, dict)
        about = {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine()}
        print(json.dumps({"speedup_vs_torch": ratio["median"], **about, "results": results}))


if __name__ == "__main__":
    main()
