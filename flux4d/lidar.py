"""A scene seen by a spinning LiDAR: range, opacity, features and lost returns of every ray of one turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from flux4d.gaussians import Gaussians
from flux4d.rasterize import MAX_ALPHA
from flux4d.rasterize.constants import RasterSettings
from flux4d.rasterize.draw import Blend, own_blend
from flux4d.rasterize.spinning.project import SpinningSplats, project_spinning
from flux4d.rasterize.spinning.sensor import SpinningLidar

__all__ = ["BEAM_EPS2D", "LidarImage", "SpinningLidar", "render_lidar"]

BEAM_EPS2D = 0.05
"""px^2 at 0.2 degrees a px: a beam 3 mrad wide (neurad-studio's value for the Pandar64) has a standard deviation
of a quarter of that, 0.21 px."""
LidarBackend = Literal["auto", "cpu", "torch"]


@dataclass(frozen=True, slots=True, eq=False)
class LidarImage:
    """One turn: H beams, top first, by W firings."""

    range: Tensor  # [H, W] m, expected: accumulated range over alpha; 0 where nothing is met
    alpha: Tensor  # [H, W] share of the light that something returns
    drop: Tensor  # [H, W] probability that the ray does not come back
    features: Tensor | None  # [H, W, D] sum of weight times feature; None when none were given
    median_range: Tensor | None  # [H, W] m, where half of the light is gone, NaN where that is nowhere; no gradient


def render_lidar(
    gaussians: Gaussians,
    lidar: SpinningLidar,
    *,
    features: Tensor | None = None,  # [N, D]
    drop: Tensor | None = None,  # [N]
    with_median: bool = False,
    near: float = 0.5,
    far: float = 250.0,
    eps2d: float = BEAM_EPS2D,
    max_alpha: float = MAX_ALPHA,
    backend: LidarBackend = "auto",
) -> LidarImage:
    """Render the range image of one turn, every ray at its own time.

    Each Gaussian is moved to the moment the beam passes it, has the opacity of that moment where it has a lifetime,
    and is seen from where the sensor is then. Sky returns
    nothing and is left out. A splat has one range, that of its centre. Beams of one column are taken to fire at
    once; a Pandar64 fires a ray up to 30 columns (1.7 ms) before or after its column's moment.

    Args:
        gaussians: N Gaussians.
        lidar: The turn, in the Gaussians' frame and time.
        features: What else to blend (intensity, colours, anything).
        drop: Probability that a Gaussian swallows the light instead of returning it; None is 0 for all.
        with_median: Whether to compute the median range too.
        near: Gaussians nearer than this are left out, m.
        far: Gaussians farther than this are left out, m.
        eps2d: Variance of the beam's own width, px^2 (a px is a column's width), added to every splat.
        max_alpha: Alphas are clamped here.
        backend: "cpu" (numba), "torch" (the slow plain twin, any device), "auto" the first for CPU tensors.

    Returns:
        LidarImage: differentiable in every parameter of the Gaussians, in `features` and `drop`.

    Raises:
        ValueError: shapes that do not belong together, values that are not finite, or an unknown backend.
    """
    settings = RasterSettings(lidar.columns, len(lidar.elevations), near, far, 0.0, eps2d, max_alpha)
    _check(gaussians, features, drop)
    solid = (~gaussians.is_sky).nonzero().squeeze(1)
    paths = _paths(gaussians)
    shape = paths[solid], gaussians.quats[solid], gaussians.scales[solid], gaussians.opacities[solid]
    lifetimes = None if gaussians.sigma_t is None else (gaussians.times[solid], gaussians.sigma_t[solid])
    splats = project_spinning(*shape, lidar, lifetimes=lifetimes, near=near, far=far, eps2d=eps2d)
    of = solid[splats.index]
    channels = [splats.ranges[:, None]]
    if drop is not None:
        channels.append(drop[of, None])
    if features is not None:
        channels.append(features[of])
    rows = torch.as_tensor(lidar.row_centers, dtype=paths.dtype, device=paths.device)
    geometry = torch.cat([splats.means2d, splats.conics, splats.opacities[:, None]], dim=1)
    image, alpha = _blend(backend, paths)(torch.cat([geometry, *channels], dim=1), splats.boxes, settings, rows)
    alpha = alpha[..., 0]
    lost = 1 - alpha
    return LidarImage(
        # gsplat's guard against empty pixels in its expected-depth mode.
        range=image[..., 0] / alpha.clamp(min=1e-10),
        alpha=alpha,
        drop=lost if drop is None else lost + image[..., 1],
        features=None if features is None else image[..., 1 if drop is None else 2 :],
        median_range=_median(geometry, splats, rows, settings) if with_median else None,
    )


def _paths(gaussians: Gaussians) -> Tensor:
    """The motion polynomial of `flux4d.motion.move` by powers of time, [N, L + 2, 3]."""
    start, terms = gaussians.means, []
    for degree, velocity in enumerate(gaussians.velocities.unbind(dim=1), start=1):
        terms.append(velocity / degree)
        start = start - terms[-1] * (gaussians.times**degree)[:, None]
    return torch.stack([start, *terms], dim=1)


@torch.no_grad()
def _median(geometry: Tensor, splats: SpinningSplats, rows: Tensor, settings: RasterSettings) -> Tensor:
    from flux4d.rasterize.spinning.median_range import median_range  # numba takes a second to import

    plain = [np.ascontiguousarray(value.cpu().float().numpy()) for value in (geometry, splats.ranges, rows)]
    found = median_range(plain[0], plain[1], splats.boxes.cpu().numpy(), plain[2], settings.width, settings.max_alpha)
    return torch.from_numpy(found).to(rows)


def _blend(backend: LidarBackend, means: Tensor) -> Blend:
    if backend not in get_args(LidarBackend):
        raise ValueError(f"backend {backend!r} is not one of {', '.join(get_args(LidarBackend))}")
    if backend == "auto":
        backend = "cpu" if means.device.type == "cpu" else "torch"
    return own_blend(backend, means)


@torch.no_grad()
def _check(gaussians: Gaussians, features: Tensor | None, drop: Tensor | None) -> None:
    count = len(gaussians)
    if features is not None and (features.ndim != 2 or len(features) != count or not features.shape[1]):
        raise ValueError(f"features must have shape ({count}, D), one row a Gaussian, got {tuple(features.shape)}")
    if drop is not None and drop.shape != (count,):
        raise ValueError(f"drop must have shape ({count},), one value a Gaussian, got {tuple(drop.shape)}")
    if drop is not None and not ((drop >= 0) & (drop <= 1)).all():
        raise ValueError("drop must be probabilities in [0, 1]; apply a sigmoid to logits")
    values = {
        name: getattr(gaussians, name) for name in ("means", "quats", "scales", "opacities", "velocities", "times")
    }
    for name, value in {**values, "features": features}.items():
        if value is not None and not value.isfinite().all():
            raise ValueError(f"{name} of the Gaussians holds values that are not finite; check what made them")
    if gaussians.sigma_t is not None and not (gaussians.sigma_t > 0).all():
        raise ValueError("sigma_t of the Gaussians must be above 0 s, inf for what is always there")
    if count and not (gaussians.quats.square().sum(dim=1) > 0).all():
        raise ValueError("quats holds rows of norm zero; no rotation is meant by that")
