"""Lists of the splats that touch each 16x16 tile, front to back, for the blending kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flux4d.rasterize.constants import ALPHA_THRESHOLD
from flux4d.rasterize.cpu.kernels import REACH, TILE, Array
from flux4d.rasterize.projection import BOX_SIGMA_SLACK


@dataclass(frozen=True, slots=True, eq=False)
class TileLists:
    """Splats by tile (row-major tiles), and where the gradient of each splat in each tile goes."""

    starts: NDArray[np.int64]  # [tiles + 1] range of each tile in members
    members: NDArray[np.int32]  # [intersections] splats of a tile, front to back
    slots: NDArray[np.int64]  # [intersections] row of the splat-major gradient buffer
    first_slots: NDArray[np.int64]  # [M + 1] range of each splat in that buffer


def tile_lists(boxes: NDArray[np.int32], width: int, height: int) -> TileLists:
    """Sort splats with pixel boxes [M, 4] (x0, x1, y0, y1, half open) into tiles of 16 x 16."""
    across, down = -(-width // TILE), -(-height // TILE)
    counts, first_slots = np.zeros(across * down + 1, np.int64), np.zeros(len(boxes) + 1, np.int64)
    _count(boxes, TILE, across, counts, first_slots)
    starts, first_slots = np.cumsum(counts), np.cumsum(first_slots)
    members, slots = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int64)
    _fill(boxes, TILE, across, starts[:-1].copy(), first_slots, members, slots)
    return TileLists(starts, members, slots, first_slots)


def reach(splats: Array) -> Array:
    """What the kernels ask of each splat to find its blocks. [M (6 + D)] splats as [M, 6 + D] -> [M REACH]."""
    out = np.empty((len(splats), REACH), splats.dtype)
    _reach(splats, splats.dtype.type(ALPHA_THRESHOLD), splats.dtype.type(BOX_SIGMA_SLACK), out)
    return out.reshape(-1)


@njit(nogil=True, cache=True, error_model="numpy")
def _reach(splats: Array, threshold: float, slack: float, out: Array) -> None:
    for g in range(len(splats)):
        out[g, 0] = (np.log(splats[g, 5] / threshold) + slack) / 8
        out[g, 1] = splats[g, 3] / splats[g, 4]
        out[g, 2] = splats[g, 3] / splats[g, 2]


@njit(nogil=True, cache=True)
def _count(boxes: Array, tile_size: int, across: int, counts: Array, per_splat: Array) -> None:
    """Intersections by tile and by splat, each shifted by one for the running sum."""
    for g in range(len(boxes)):
        x0, x1, y0, y1 = boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3]
        if x1 > x0 and y1 > y0:
            for row in range(y0 // tile_size, (y1 - 1) // tile_size + 1):
                for column in range(x0 // tile_size, (x1 - 1) // tile_size + 1):
                    counts[row * across + column + 1] += 1
                    per_splat[g + 1] += 1


@njit(nogil=True, cache=True)
def _fill(
    boxes: Array, tile_size: int, across: int, heads: Array, first_slots: Array, members: Array, slots: Array
) -> None:
    for g in range(len(boxes)):
        x0, x1, y0, y1 = boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3]
        slot = first_slots[g]
        if x1 > x0 and y1 > y0:
            for row in range(y0 // tile_size, (y1 - 1) // tile_size + 1):
                for column in range(x0 // tile_size, (x1 - 1) // tile_size + 1):
                    tile = row * across + column
                    members[heads[tile]] = g
                    slots[heads[tile]] = slot
                    heads[tile] += 1
                    slot += 1
