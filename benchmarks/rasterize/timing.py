"""One forward and one backward pass of each side, timed: our CPU backend, and its plain PyTorch twin.

The twin is the peer, at its best: strips of rows with a backward pass each, on what the CPU's caches and memory can
hold. In one call on the whole image it takes three times as long and 11 GB at 960x540, 200,000 Gaussians.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from benchmarks.rasterize.scene import Scene
from flux4d.rasterize import rasterize
from flux4d.rasterize.blend_torch import blend as plain_blend
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.cpu.blend import blend
from flux4d.rasterize.projection import project

STRIP_PAIRS = 250_000
"""Splat-pixel pairs of a strip of the twin: about the fastest on the machine the benchmark was written on."""
Spread = dict[str, float]


@dataclass(frozen=True, slots=True)
class Pass:
    """Seconds of one forward and one backward pass: on the clock, and of all threads of the process."""

    forward: float
    backward: float
    forward_cpu: float
    backward_cpu: float

    @property
    def wall(self) -> float:
        """Both, on the clock."""
        return self.forward + self.backward

    @property
    def cpu(self) -> float:
        """CPU time of both."""
        return self.forward_cpu + self.backward_cpu


class _Watch:
    """Adds up the clock and the CPU time of named parts."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(("forward", "backward", "forward_cpu", "backward_cpu"), 0.0)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._spent[part] += time.perf_counter() - wall
        self._spent[f"{part}_cpu"] += time.process_time() - cpu

    def read(self) -> Pass:
        return Pass(**self._spent)


def raster_stage(splats: Tensor, boxes: Tensor, settings: RasterSettings) -> tuple[Pass, Tensor]:
    """Tile lists and blending of splats [M, 6 + D], backward to the splats; returns the gradient too."""
    v_image, v_alpha = _gradients(settings, splats.shape[1] - 6)
    leaf, watch = splats.detach().clone().requires_grad_(), _Watch()
    with watch.of("forward"):
        out = blend(leaf, boxes, settings)
    with watch.of("backward"):
        (v_splats,) = torch.autograd.grad(out, leaf, (v_image, v_alpha))
    return watch.read(), v_splats


def plain_raster_stage(splats: Tensor, boxes: Tensor, settings: RasterSettings) -> tuple[Pass, Tensor]:
    """The same job by the twin, in strips."""
    v_image, v_alpha = _gradients(settings, splats.shape[1] - 6)
    v_splats, watch = torch.zeros_like(splats), _Watch()
    centers = torch.arange(settings.height, dtype=splats.dtype) + 0.5
    for first, last in _strips(boxes, settings.height):
        with watch.of("forward"):
            rows = (boxes[:, 2:] - first).clamp(0, last - first)
            member = ((rows[:, 1] > rows[:, 0]) & (boxes[:, 1] > boxes[:, 0])).nonzero().squeeze(1)
            box = torch.cat([boxes[:, :2], rows], dim=1)[member]
            leaf = splats.detach()[member].requires_grad_()
            out = plain_blend(leaf, box, replace(settings, height=last - first), centers[first:last])
        if len(member):
            with watch.of("backward"):
                (part,) = torch.autograd.grad(out, leaf, (v_image[first:last], v_alpha[first:last]))
                v_splats.index_add_(0, member, part)
    return watch.read(), v_splats


def end_to_end(scene: Scene, width: int) -> tuple[Pass, tuple[Tensor, ...]]:
    """The one call: cull, project, sort, blend; backward to means, quats, scales, opacities, features."""
    K, width, height = scene.at(width)
    v_image, v_alpha = _gradients(RasterSettings(width, height), scene.features.shape[1] + 1)
    leaves, watch = scene.gaussians(), _Watch()
    with watch.of("forward"):
        viewmats, Ks = scene.viewmat[None], K[None]
        out = rasterize(
            *leaves, viewmats=viewmats, Ks=Ks, width=width, height=height, render_mode="RGB+D", backend="cpu"
        )
    with watch.of("backward"):
        grads = torch.autograd.grad((out.features, out.alphas), leaves, (v_image[None], v_alpha[None]))
    return watch.read(), grads


def plain_end_to_end(scene: Scene, width: int) -> tuple[Pass, tuple[Tensor, ...]]:
    """The same job with the plain twins of both stages, projection and blending."""
    K, width, height = scene.at(width)
    settings = RasterSettings(width, height)
    leaves, watch = scene.gaussians(), _Watch()
    with watch.of("forward"):
        means, quats, scales, opacities, features = leaves
        seen = project(means, quats, scales, opacities, scene.viewmat, K, settings)
        features = features.index_select(0, seen.index)
        columns = [seen.means2d, seen.conics, seen.opacities[:, None], features, seen.depths[:, None]]
        splats = torch.cat(columns, dim=1)
    blending, v_splats = plain_raster_stage(splats, seen.boxes, settings)
    with watch.of("backward"):
        grads = torch.autograd.grad(splats, leaves, v_splats)
    rest = watch.read()
    both = {name: getattr(blending, name) + getattr(rest, name) for name in Pass.__slots__}
    return Pass(**both), grads


def compare(ours: Callable[[], Pass], peer: Callable[[], Pass] | None, repeats: int) -> dict[str, Spread | None]:
    """Ours, the peer, ours, the peer, ..., ours; the ratio of a repeat is to the mean of ours before and after it.

    Returns:
        Spreads of seconds (forward and both passes, on the clock; CPU seconds of both) and of the ratio of the
        clock's seconds of both passes; the peer's are None without one.
    """
    mine, theirs = [ours()], []
    for _ in range(repeats):
        if peer is not None:
            theirs.append(peer())
        mine.append(ours())
    ratios = [2 * that.wall / (mine[i].wall + mine[i + 1].wall) for i, that in enumerate(theirs)]
    return {
        "ours_forward_s": spread([row.forward for row in mine]),
        "ours_s": spread([row.wall for row in mine]),
        "ours_cpu_s": spread([row.cpu for row in mine]),
        "peer_forward_s": spread([row.forward for row in theirs]),
        "peer_s": spread([row.wall for row in theirs]),
        "peer_cpu_s": spread([row.cpu for row in theirs]),
        "ratio": spread(ratios),
    }


def one_core(stage: Callable[[], Pass], repeats: int) -> dict[str, Spread | None]:
    """CPU seconds of both passes on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [stage() for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    return {
        "forward_cpu_s": spread([row.forward_cpu for row in rows]),
        "backward_cpu_s": spread([row.backward_cpu for row in rows]),
    }


def spread(values: Sequence[float]) -> Spread | None:
    """Median, least and most; None of nothing."""
    return {"median": median(values), "min": min(values), "max": max(values)} if values else None


def _gradients(settings: RasterSettings, channels: int) -> tuple[Tensor, Tensor]:
    """What a loss would hand back: of features [H, W, channels] and of alphas [H, W, 1]."""
    g = torch.Generator().manual_seed(0)
    shape = settings.height, settings.width
    return torch.randn(*shape, channels, generator=g), torch.randn(*shape, 1, generator=g)


def _strips(boxes: Tensor, height: int) -> list[tuple[int, int]]:
    pairs = int(((boxes[:, 1] - boxes[:, 0]).long() * (boxes[:, 3] - boxes[:, 2]).long()).sum())
    rows = max(1, round(height * STRIP_PAIRS / max(1, pairs)))
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]
