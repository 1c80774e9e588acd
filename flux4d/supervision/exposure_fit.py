"""Exposures fitted to a clip's input images: a small ridge regression of image on rendering, in closed form.

Only input views are compared: a target image never takes part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from flux4d.cameras.shutter import Shutter
from flux4d.gaussians import Gaussians
from flux4d.rasterize import Backend
from flux4d.render import render
from flux4d.supervision.exposure import Exposure, ExposureCurve
from flux4d.supervision.target import make_target
from store_schema.clip import Clip

ExposureKind = Literal["gain", "channels", "affine"]


@dataclass(kw_only=True, slots=True, frozen=True)
class ExposureConfig:
    """How exposures are fitted."""

    kind: ExposureKind = "affine"
    """One factor for all channels (1 number), a factor and an offset a channel (6), or a full 3x4 map (12)."""
    per_frame: bool = False
    """One map for each input frame, linear in time between them, instead of one for all frames of a camera."""
    cell: int = 16
    """Compare means of cells of this many pixels a side: at single pixels, edges that lie a little beside each other
    pull the factor below 1. Cells at the right and lower border may be smaller."""
    ridge: float = 1e4
    """Evidence for "no change", in fully covered pixels: with less than this the map stays near the identity."""
    huber: float | None = 0.1
    """Colour error beyond which a cell counts linearly, not squared (moving things, wrong colours); None: never."""
    steps: int = 5
    """Reweighted solves of the Huber fit."""
    max_change: float = 0.5
    """Largest difference of any entry of the map from the identity's; a fit beyond it is brought back towards it."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ExposureKind):
            raise ValueError(f"exposure kind={self.kind!r}: use one of {get_args(ExposureKind)}")
        if self.cell < 1 or self.steps < 1:
            raise ValueError(f"exposure cell={self.cell}, steps={self.steps}: use at least 1, for instance 16 and 5")
        if not (self.ridge > 0.0 and self.max_change > 0.0 and (self.huber is None or self.huber > 0.0)):
            raise ValueError(
                f"exposure ridge={self.ridge}, max_change={self.max_change}, huber={self.huber}: "
                "use positive values, for instance 1e4, 0.5 and 0.1 (or None)"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A scene's rendering of one input view beside what the camera recorded."""

    camera: str
    time: float  # s since the clip's first sweep stamp
    rendered: Tensor  # [H, W, 3]
    image: Tensor  # [H, W, 3] in [0, 1]
    weight: Tensor  # [H, W] >= 0, for instance alpha

    def __post_init__(self) -> None:
        if not (self.rendered.shape == self.image.shape == (*self.weight.shape, 3)):
            raise ValueError(
                f"{self.camera}: rendered {tuple(self.rendered.shape)}, image {tuple(self.image.shape)} and weight "
                f"{tuple(self.weight.shape)} must be [H, W, 3], [H, W, 3] and [H, W] of one size"
            )
        finite = all(bool(torch.isfinite(values).all()) for values in (self.rendered, self.image, self.weight))
        if not finite or bool((self.weight < 0.0).any()):
            raise ValueError(f"{self.camera} at {self.time:.3f} s: colours must be finite, weights finite and >= 0")


def _cell_sums(values: Tensor, cell: int) -> Tensor:
    """Sums over cells of an image. [H, W, X] -> [cells, X]"""
    height, width, channels = values.shape
    padded = torch.nn.functional.pad(values, (0, 0, 0, -width % cell, 0, -height % cell))
    cells: Tensor = padded.unflatten(1, (-1, cell)).unflatten(0, (-1, cell))
    return cells.sum(dim=(1, 3)).reshape(-1, channels)


def _pooled(seen: Sequence[Comparison], cell: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted means of rendering (with a 1) and image in all cells, and the weights. [P, 4], [P, 3], [P] float64"""
    x, y, w = [], [], []
    for one in seen:
        weight = one.weight.double()[..., None]
        ones = torch.ones_like(weight)
        sums = _cell_sums(torch.cat([one.rendered.double(), ones, one.image.double(), ones], dim=-1) * weight, cell)
        sums = sums[sums[:, 7] > 0.0]
        x.append(sums[:, :4] / sums[:, 7:])
        y.append(sums[:, 4:7] / sums[:, 7:])
        w.append(sums[:, 7])
    return torch.cat(x), torch.cat(y), torch.cat(w)


def _solve(x: Tensor, y: Tensor, w: Tensor, config: ExposureConfig) -> Tensor:
    """Change D [3, 4] that minimises sum w |(I + D) x - y|^2 + ridge |D|^2 over the maps of the kind."""
    weighted = x * w[:, None]
    gram, right = weighted.T @ x, weighted.T @ (y - x[:, :3])  # [4, 4], [4, 3]
    if config.kind == "gain":
        step = right.diagonal().sum() / (gram.diagonal()[:3].sum() + 3.0 * config.ridge)
        return torch.eye(3, 4).to(x) * step
    eye = torch.eye(4).to(x) * config.ridge
    if config.kind == "affine":
        solution: Tensor = torch.linalg.solve(gram + eye, right)
        return solution.T
    change = torch.zeros(3, 4).to(x)
    for channel in range(3):
        own = torch.tensor([channel, 3], device=x.device)
        change[channel, own] = torch.linalg.solve((gram + eye)[own][:, own], right[own, channel])
    return change


@torch.no_grad()
def fit_map(seen: Sequence[Comparison], config: ExposureConfig) -> Tensor:
    """The map that brings renderings nearest to their images, all of one camera. [3, 4] float64

    The cost (Huber of each cell's error, plus the ridge) is never above that of the identity.

    Raises:
        ValueError: nothing to compare.
    """
    if not seen:
        raise ValueError("need at least one input view to fit an exposure to")
    x, y, w = _pooled(seen, config.cell)
    change = torch.zeros(3, 4).to(x)
    for _ in range(1 if config.huber is None else config.steps):
        scale = torch.ones_like(w)
        if config.huber is not None:
            error = (x[:, :3] + x @ change.T - y).norm(dim=-1)
            scale = config.huber / error.clamp(min=config.huber)
        change = _solve(x, y, w * scale, config)
    # Towards the identity along a straight line: the cost is convex, so it stays below the identity's.
    change = change * (config.max_change / change.abs().max().clamp(min=config.max_change))
    return torch.eye(3, 4).to(x) + change


def fit_exposure(seen: Sequence[Comparison], config: ExposureConfig) -> Exposure:
    """Fit each camera's map to its comparisons; per frame when the config says so.

    Raises:
        ValueError: nothing to compare, or two comparisons of one camera at one time when fitting per frame.
    """
    if not seen:
        raise ValueError("need at least one input view to fit an exposure to")
    curves: dict[str, ExposureCurve] = {}
    for camera in dict.fromkeys(one.camera for one in seen):
        own = sorted((one for one in seen if one.camera == camera), key=lambda one: one.time)
        groups = [[one] for one in own] if config.per_frame else [own]
        times = [group[0].time for group in groups]
        if len(set(times)) < len(times):
            raise ValueError(f"{camera}: two input views at one time {times}: fit them with per_frame=False")
        maps = torch.stack([fit_map(group, config) for group in groups])
        curves[camera] = ExposureCurve(torch.tensor(times, dtype=torch.float64, device=maps.device), maps)
    return Exposure(curves)


@torch.no_grad()
def compare_inputs(
    gaussians: Gaussians,
    clip: Clip,
    width: int | None = None,
    backend: Backend = "auto",
    shutter: Shutter | None = None,
) -> list[Comparison]:
    """Render a scene at the clip's input views, the only ones an exposure may be fitted to.

    Args:
        gaussians: The scene; background weighs as everything else.
        clip: Where it is from.
        width: Width to render at, pixels; None is the stored size.
        backend: As in `flux4d.render.render`.
        shutter: When the images' rows were exposed.

    Raises:
        ValueError: as `flux4d.supervision.target.make_target`.
    """
    seen = []
    for view in clip.views_of("input"):
        target = make_target(view, width, gaussians.means.device, path=clip.views, shutter=shutter)
        rendering = render(gaussians, target.cameras, backend=backend)
        weight = rendering.alpha[0, ..., 0].clamp(min=0.0)
        seen.append(Comparison(view.name, view.time, rendering.rgb[0], target.rgb, weight))
    return seen
