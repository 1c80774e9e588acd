"""What rest explains: the share of other sweeps that have a return where this return is."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.motion.hashing import cell_key, find

_kernel = njit(cache=True, nogil=True)


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
    points: NDArray[np.float64],
    use: NDArray[np.bool_],
    away: NDArray[np.float32],
    sizes: NDArray[np.float64],
    ranges: NDArray[np.float64],
    table: NDArray[np.int64],
    masks: NDArray[np.uint32],
) -> NDArray[np.uint32]:
    """Bits of the sweeps with a return in the 8 cells nearest to each point, 0 where not used."""
    out = np.zeros(len(points), np.uint32)
    for i in range(len(points)):
        if not use[i]:
            continue
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
