"""Sparse depth of a camera image from the LiDAR returns of its frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.features.visibility import Sighting

_PLACE_BITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class SparseDepth:
    """Depth where a LiDAR return projects; D pixels."""

    pixel: NDArray[np.int32]  # [D] row * width + column, ascending, unique
    depth: NDArray[np.float64]  # [D] m, z-depth of the nearest return in the pixel
    point: NDArray[np.int64]  # [D] row of that return in the sweep
    visible: NDArray[np.bool_]  # [D] the camera sees that return (see pipelines.features.visibility)


def sparse_depth(sighting: Sighting) -> SparseDepth:
    """Z-buffered LiDAR depth at a camera's pixels.

    Each pixel keeps its nearest return, of equally near ones the first in the sweep. Returns that the LiDAR saw
    over something which hides them from the camera are kept and marked not visible.

    Args:
        sighting: the sweep as the camera sees it.
    """
    seen = sighting.projection
    # Pixel and place in one number: a plain sort brings the returns of a pixel together.
    keys = np.sort(_keys(seen.uv, sighting.width))
    pixel, place = _nearest_in_pixels(keys, seen.depth)
    return SparseDepth(pixel, seen.depth[place], seen.rows[place], sighting.visible[place])


@njit(cache=True, nogil=True)
def _keys(
    uv: NDArray[np.float64],  # [Q, 2]
    width: int,
) -> NDArray[np.int64]:
    keys = np.empty(len(uv), dtype=np.int64)
    for i in range(len(uv)):
        keys[i] = (int(uv[i, 1]) * width + int(uv[i, 0])) << _PLACE_BITS | i
    return keys


@njit(cache=True, nogil=True)
def _nearest_in_pixels(
    keys: NDArray[np.int64],  # [Q] ascending
    depth: NDArray[np.float64],  # [Q]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Pixels with a return, and the place of the nearest (of equally near ones the first) in each."""
    pixel, place = np.empty(len(keys), dtype=np.int32), np.empty(len(keys), dtype=np.int64)
    count = 0
    for key in keys:
        at, i = key >> _PLACE_BITS, key & ((1 << _PLACE_BITS) - 1)
        if count == 0 or pixel[count - 1] != at:
            pixel[count], place[count] = at, i
            count += 1
        elif depth[i] < depth[place[count - 1]]:
            place[count - 1] = i
    return pixel[:count].copy(), place[:count].copy()
