"""Height over ground: the lowest returns of the cells around, lifted by no more than a road's slope."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)


@_kernel
def lowest(
    points: NDArray[np.float64],  # [P, 3] m
    use: NDArray[np.bool_],  # [P]
    corner: NDArray[np.int64],  # [2] cell of the grid's first row and column
    cell: float,
    side: int,
) -> NDArray[np.float32]:
    """Lowest return of each cell [side, side] m, infinite where there is none."""
    low = np.full((side, side), np.float32(np.inf))
    for i in range(len(points)):
        if not use[i]:
            continue
        a = np.int64(np.floor(points[i, 0] / cell)) - corner[0]
        b = np.int64(np.floor(points[i, 1] / cell)) - corner[1]
        if 0 <= a < low.shape[0] and 0 <= b < low.shape[1]:
            low[a, b] = min(low[a, b], np.float32(points[i, 2]))
    return low


@_kernel
def second_lowest(lows: NDArray[np.float32], shifts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Second lowest over sweeps [S, N, N], each shifted by cells [S, 2]; a lone value counts where it is the only one.

    One return below the road (a mirror image in a puddle) must not lower it.
    """
    n = lows.shape[1]
    out = np.empty((n, n), np.float32)
    for a in range(n):
        for b in range(n):
            first, second = np.float32(np.inf), np.float32(np.inf)
            for s in range(lows.shape[0]):
                i, j = a + shifts[s, 0], b + shifts[s, 1]
                if 0 <= i < n and 0 <= j < n:
                    value = lows[s, i, j]
                    if value < first:
                        first, second = value, first
                    elif value < second:
                        second = value
            out[a, b] = second if second < np.inf else first
    return out


@_kernel
def lower_envelope(low: NDArray[np.float32], rise: float, reach: int) -> NDArray[np.float32]:
    """Each cell as low as its neighbours allow: ``low[n] + rise * distance in cells``, n up to `reach` off.

    A car's own cells hold no road; the road beside it does. One deep cell lowers nothing beyond the reach.
    """
    n, m = low.shape
    cost = np.empty((2 * reach + 1, 2 * reach + 1), np.float32)
    for u in range(-reach, reach + 1):
        for w in range(-reach, reach + 1):
            cost[u + reach, w + reach] = np.float32(rise * np.sqrt(u * u + w * w))
    out = np.full((n, m), np.float32(np.inf))
    for a in range(n):
        for b in range(m):
            if not low[a, b] < np.inf:
                continue
            for u in range(max(0, a - reach), min(n, a + reach + 1)):
                for w in range(max(0, b - reach), min(m, b + reach + 1)):
                    v = low[a, b] + cost[u - a + reach, w - b + reach]
                    if v < out[u, w]:
                        out[u, w] = v
    return out


@_kernel
def heights(
    points: NDArray[np.float64], corner: NDArray[np.int64], cell: float, low: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Height of each return over the envelope [P] m; infinite off the grid."""
    out = np.full(len(points), np.inf, np.float32)
    for i in range(len(points)):
        a = np.int64(np.floor(points[i, 0] / cell)) - corner[0]
        b = np.int64(np.floor(points[i, 1] / cell)) - corner[1]
        if 0 <= a < low.shape[0] and 0 <= b < low.shape[1]:
            out[i] = np.float32(points[i, 2] - low[a, b])
    return out


@_kernel
def drop_pits(low: NDArray[np.float32], depth: float) -> NDArray[np.float32]:
    """Keep a cell with company only: two, and a fifth, of the 80 around are at most `depth` m higher.

    Mirror images lie below the road, a few cells in a place; a ring of road that no other is near has itself.
    """
    n, m = low.shape
    out = np.full((n, m), np.float32(np.inf))
    for a in range(n):
        for b in range(m):
            if not low[a, b] < np.inf:
                continue
            count, others = -1, -1
            for u in range(max(0, a - 4), min(n, a + 5)):
                for w in range(max(0, b - 4), min(m, b + 5)):
                    if low[u, w] < np.inf:
                        others += 1
                    if low[u, w] < low[a, b] + np.float32(depth):
                        count += 1
            if count >= 2 and 5 * count >= others:
                out[a, b] = low[a, b]
    return out
