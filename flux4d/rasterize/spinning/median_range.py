"""Median range of a ray: where half of its light is absorbed (the expected range would mix two surfaces)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flux4d.rasterize.constants import ALPHA_THRESHOLD

Array = NDArray


def median_range(
    geometry: NDArray[np.float32],  # [M, 6] x, y, conic xx, xy, yy, opacity
    ranges: NDArray[np.float32],  # [M] m
    boxes: NDArray[np.int32],  # [M, 4]
    row_centers: NDArray[np.float32],  # [H]
    width: int,
    max_alpha: float,
) -> NDArray[np.float32]:
    """Range of the splat at which the transmittance falls to one half or below, by pixel; no gradient.

    Args:
        geometry: Splats front to back.
        ranges: Their ranges, m.
        boxes: Pixels x0, x1, row0, row1 (half open) each can reach.
        row_centers: y of each image row, ascending.
        width: W, columns of the image.
        max_alpha: Alphas are clamped here.

    Returns:
        [H, W] m, NaN where more than half of the light is left.
    """
    median = np.full((len(row_centers), width), np.nan, np.float32)
    light = np.ones((len(row_centers), width), np.float32)
    _walk(
        geometry,
        ranges,
        boxes,
        row_centers,
        np.float32(max_alpha),
        np.float32(ALPHA_THRESHOLD),
        light,
        median,
    )
    return median


@njit(nogil=True, cache=True)
def _walk(
    geometry: Array,
    ranges: Array,
    boxes: Array,
    row_centers: Array,
    max_alpha: np.float32,
    threshold: np.float32,
    light: Array,
    median: Array,
) -> None:
    """Splat by splat: the image of a LiDAR is small enough to stay in the cache."""
    half = np.float32(0.5)
    for g in range(len(geometry)):
        u, v, a, b, c, opacity = geometry[g]
        limit = math.log(opacity / threshold)
        for row in range(boxes[g, 2], boxes[g, 3]):
            dy = row_centers[row] - v
            for column in range(boxes[g, 0], boxes[g, 1]):
                if light[row, column] <= half:
                    continue
                dx = np.float32(column) + half - u
                sigma = half * (a * dx * dx + c * dy * dy) + b * dx * dy
                if sigma < 0 or sigma > limit:
                    continue
                left = light[row, column] * (1 - min(max_alpha, opacity * np.float32(math.exp(-sigma))))
                if left <= half:
                    median[row, column] = ranges[g]
                light[row, column] = left
