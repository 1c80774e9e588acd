"""Image metrics of one rendered view, on the full image and inside a mask.

Colours are compared as the stored image codes them (sRGB, 0 to 255 brought to 0 to 1), the rendering clipped to that
range and not rounded to 8 bits; PSNR and SSIM are computed in float64. A mask selects from the maps of squared error,
SSIM and LPIPS: nothing outside it is painted over. An empty mask or a view without LiDAR pixels gives None, never 0 or
NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.metrics.lpips import Lpips, distance, distance_map
from evaluation.metrics.region import Region
from evaluation.metrics.table import METRICS
from evaluation.metrics.truth import Truth
from flux4d.supervision.ssim import ssim_map


@dataclass(frozen=True, slots=True)
class RegionScores:
    """Metrics of one region of one view, with the counts they rest on."""

    psnr: float | None
    """-10 log10 MSE over pixels and channels [dB]; infinite when the images are equal."""
    ssim: float | None
    """Mean of the SSIM map over the region."""
    depth_rmse: float | None = field(metadata={"was": "d_rmse"})
    """Root mean square error of the rendered z-depth at the region's LiDAR pixels [m]."""
    pixels: int
    depth_pixels: int | None
    """None: the method gives no depth."""
    lpips: float | None = None
    """LPIPS of the full image; in a mask the mean of the LPIPS map. None without a network."""
    measured: dict[str, float | None] = field(default_factory=dict)
    """Metrics that have no field here: those that their row in `evaluation.metrics.table` measures, by key."""


@dataclass(frozen=True, slots=True)
class ViewScores:
    """Metrics of one view; `moving` is None when the log cannot say what moves."""

    full: RegionScores
    moving: RegionScores | None


def score_view(
    rgb: Tensor,  # [H, W, 3]
    depth: Tensor | None,  # [H, W] m, z-depth
    truth: Truth,
    lpips: Lpips | None = None,
) -> ViewScores:
    """Compare a rendering with the truth of its view.

    Args:
        rgb: Rendered colours. [H, W, 3]
        depth: Rendered z-depth in metres, [H, W]; None: the method gives none, and depth scores are n/a.
        truth: What the view truly showed.
        lpips: Network to compare with too.

    Raises:
        ValueError: the sizes differ, or the rendering holds values that are not finite.
    """
    target = torch.from_numpy(truth.rgb).double()
    image = rgb.detach().cpu().double()
    depths = None if depth is None else depth.detach().cpu().double().numpy()
    if image.shape != target.shape or (depths is not None and depths.shape != target.shape[:2]):
        shapes = f"{tuple(image.shape)} with depth {None if depths is None else depths.shape}"
        raise ValueError(f"rendering is {shapes}, truth is {tuple(target.shape)}: render at the truth's camera")
    if not (torch.isfinite(image).all() and (depths is None or np.isfinite(depths).all())):
        raise ValueError("the rendering holds NaN or infinite values: check the Gaussians that were rendered")
    image = image.clamp(0.0, 1.0)
    error2 = (image - target).square_().mean(-1).numpy()  # [H, W], mean over channels
    similarity = ssim_map(image, target).mean(-1).numpy()  # [H, W]
    masks = [np.ones(error2.shape, bool), truth.moving]
    seen = [None if mask is None else Region(image.numpy(), depths, truth, mask) for mask in masks]
    full, moving = (None if region is None else _scores(region, error2, similarity) for region in seen)
    assert full is not None
    if lpips is None:
        return ViewScores(full, moving)
    layers = lpips.layers(image, target)
    if moving is not None and moving.pixels:
        perceived = distance_map(layers, *error2.shape).cpu().numpy()
        moving = replace(moving, lpips=float(perceived[truth.moving].mean()))
    return ViewScores(replace(full, lpips=distance(layers)), moving)


def depth_rmse(
    depth: NDArray[np.floating],  # [H, W] m
    truth: Truth,
    mask: NDArray[np.bool_] | None = None,  # [H, W]
) -> tuple[float | None, int]:
    """Depth RMSE in metres at the LiDAR pixels inside the mask, and their count."""
    keep = np.ones(len(truth.depth_pixel), bool) if mask is None else mask.reshape(-1)[truth.depth_pixel]
    error = depth.reshape(-1)[truth.depth_pixel[keep]].astype(np.float64) - truth.depth[keep]
    return (float(np.sqrt(np.mean(error**2))) if len(error) else None), len(error)


def _scores(
    region: Region,
    error2: NDArray[np.float64],  # [H, W]
    similarity: NDArray[np.float64],  # [H, W]
) -> RegionScores:
    mask = region.mask
    pixels = int(mask.sum())
    rmse, depth_pixels = (None, None) if region.depth is None else depth_rmse(region.depth, region.truth, mask)
    return RegionScores(
        psnr=_psnr_of(error2[mask]),
        ssim=float(similarity[mask].mean()) if pixels else None,
        depth_rmse=rmse,
        pixels=pixels,
        depth_pixels=depth_pixels,
        measured={
            metric.key: metric.measure(region) if pixels else None for metric in METRICS if metric.measure is not None
        },
    )


def _psnr_of(error2: NDArray[np.float64]) -> float | None:
    if not error2.size:
        return None
    mse = float(error2.mean())
    return -10.0 * math.log10(mse) if mse > 0.0 else math.inf
