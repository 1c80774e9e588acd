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
    low: NDArray[np.float32],  # [N, N] m; written
) -> None:
    """Lowest return of each cell, infinite where there is none."""
    low[:] = np.inf
    for i in range(len(points)):
        if not use[i]:
            continue
        a = np.int64(np.floor(points[i, 0] / cell)) - corner[0]
        b = np.int64(np.floor(points[i, 1] / cell)) - corner[1]
        if 0 <= a < low.shape[0] and 0 <= b < low.shape[1]:
            low[a, b] = min(low[a, b], np.float32(points[i, 2]))


@_kernel
def second_lowest(lows: NDArray[np.float32], shifts: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """Second lowest over sweeps [S, N, N]; a lone value counts where no other sweep has one.

    One return below the road (a mirror image in a puddle) must not lower it.
    """
    n = out.shape[0]
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


@_kernel
def lower_envelope(low: NDArray[np.float32], rise: float, reach: int, out: NDArray[np.float32]) -> None:
    """Lower each cell to what its neighbours allow: ``out[c] <= low[n] + rise * distance in cells``, n up to `reach` off.

    A car's own cells hold no road; the road beside it does. One deep cell lowers nothing beyond the reach.
    """
    n, m = low.shape
    cost = np.empty((2 * reach + 1, 2 * reach + 1), np.float32)
    for u in range(-reach, reach + 1):
        for w in range(-reach, reach + 1):
            cost[u + reach, w + reach] = np.float32(rise * np.sqrt(u * u + w * w))
    out[:] = np.inf
    for a in range(n):
        for b in range(m):
            if not low[a, b] < np.inf:
                continue
            for u in range(max(0, a - reach), min(n, a + reach + 1)):
                for w in range(max(0, b - reach), min(m, b + reach + 1)):
                    v = low[a, b] + cost[u - a + reach, w - b + reach]
                    if v < out[u, w]:
                        out[u, w] = v


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
def drop_pits(low: NDArray[np.float32], depth: float, support: int, out: NDArray[np.float32]) -> None:
    """Keep a cell only with company: `support` of the 24 around are at most `depth` higher. Mirror images have none."""
    n, m = low.shape
    for a in range(n):
        for b in range(m):
            out[a, b] = np.inf
            if not low[a, b] < np.inf:
                continue
            count, others = -1, -1
            for u in range(max(0, a - 4), min(n, a + 5)):
                for w in range(max(0, b - 4), min(m, b + 5)):
                    if low[u, w] < np.inf:
                        others += 1
                    if low[u, w] < low[a, b] + np.float32(depth):
                        count += 1
            if count >= support and 5 * count >= others:
                out[a, b] = low[a, b]
