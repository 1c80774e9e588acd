"""Which sweeps have a return near a place: a hash table of voxels with one bit a sweep."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)

EMPTY = np.int64(-1)
AXIS_BITS = 20
"""Bits of a cell's number along one axis. Numbers wrap around: cells a million apart are one; no sweep is as wide."""


@_kernel
def cell_key(x: int, y: int, z: int, level: int) -> int:
    """One number for a cell of a level (0..3), never negative."""
    part = (1 << AXIS_BITS) - 1
    return ((level & 3) << (3 * AXIS_BITS)) | ((x & part) << (2 * AXIS_BITS)) | ((y & part) << AXIS_BITS) | (z & part)


@_kernel
def slot_of(key: int, size_mask: int) -> np.int64:
    """Where a key is looked for first."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(size_mask))


@_kernel
def insert_all(keys: NDArray[np.int64], bits: np.uint32, table: NDArray[np.int64], masks: NDArray[np.uint32]) -> None:
    """Add cells; `bits` are set on each. The table's length is a power of two, more than the cells in it."""
    size_mask = len(table) - 1
    for i in range(len(keys)):
        at = slot_of(keys[i], size_mask)
        while table[at] != -1 and table[at] != keys[i]:
            at = (at + 1) & size_mask
        table[at] = keys[i]
        masks[at] |= bits


@_kernel
def find(key: int, table: NDArray[np.int64]) -> int:
    """Slot of a key, -1 where it is not in the table."""
    size_mask = len(table) - 1
    at = slot_of(key, size_mask)
    while table[at] != -1:
        if table[at] == key:
            return at
        at = (at + 1) & size_mask
    return -1


def empty_table(cells: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Room for a number of cells, at most half full."""
    size = 1 << max(4, int(2 * cells).bit_length())
    return np.full(size, EMPTY, np.int64), np.zeros(size, np.uint32)


@_kernel
def voxel_keys(
    points: NDArray[np.float64],  # [P, 3]
    use: NDArray[np.bool_],
    away: NDArray[np.float32],  # [P] m from the ego, horizontal
    sizes: NDArray[np.float64],  # [4]
    ranges: NDArray[np.float64],  # [3]
    margin: float,
) -> NDArray[np.int64]:
    """Cells with a return, of every level that a query from near its range may ask. With repeats."""
    keys = np.empty(2 * len(points) + 16, np.int64)
    n = 0
    for i in range(len(points)):
        if not use[i]:
            continue
        for level in range(4):
            lo = ranges[level - 1] - margin if level > 0 else -1.0
            hi = ranges[level] + margin if level < 3 else np.inf
            if lo <= away[i] < hi:
                s = sizes[level]
                key = cell_key(
                    np.int64(np.floor(points[i, 0] / s)),
                    np.int64(np.floor(points[i, 1] / s)),
                    np.int64(np.floor(points[i, 2] / s)),
                    level,
                )
                if n == 0 or keys[n - 1] != key:
                    keys[n] = key
                    n += 1
                    if n == len(keys):
                        keys = np.concatenate((keys, np.empty(n, np.int64)))
    return keys[:n].copy()


@_kernel
def hits(
    points: NDArray[np.float64],  # [Q, 3]
    away: NDArray[np.float32],  # [Q]
    sizes: NDArray[np.float64],
    ranges: NDArray[np.float64],
    table: NDArray[np.int64],
    masks: NDArray[np.uint32],
) -> NDArray[np.uint32]:
    """Bits of the sweeps with a return in the 8 cells nearest to each point, [Q]."""
    out = np.zeros(len(points), np.uint32)
    for i in range(len(points)):
        level = 0
        while level < 3 and away[i] >= ranges[level]:
            level += 1
        s = sizes[level]
        x, y, z = (
            np.int64(np.floor(points[i, 0] / s - 0.5)),
            np.int64(np.floor(points[i, 1] / s - 0.5)),
            np.int64(np.floor(points[i, 2] / s - 0.5)),
        )
        found = np.uint32(0)
        for k in range(8):
            at = find(cell_key(x + (k & 1), y + ((k >> 1) & 1), z + (k >> 2), level), table)
            if at >= 0:
                found |= masks[at]
        out[i] = found
    return out
