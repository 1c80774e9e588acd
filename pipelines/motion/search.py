"""The velocity under which a cluster lands on returns of the sweeps around: coarse to fine over vx and vy."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)


@_kernel
def cost_of(
    pts: NDArray[np.float64],  # [n, 2] m
    vx: float,
    vy: float,
    dts: NDArray[np.float64],  # [K] s
    grids: NDArray[np.uint8],  # [K, N, N]
    corners: NDArray[np.float64],  # [K, 2]
    inv_cell: float,
    first: int,
    stop: int,
) -> int:
    """Sum of distance bytes over points and sweeps first..stop."""
    total = 0
    n, m = grids.shape[1], grids.shape[2]
    for k in range(first, stop):
        ox, oy = vx * dts[k] - corners[k, 0], vy * dts[k] - corners[k, 1]
        for i in range(len(pts)):
            a = np.int64((pts[i, 0] + ox) * inv_cell)
            b = np.int64((pts[i, 1] + oy) * inv_cell)
            if a < 0 or b < 0 or a >= n or b >= m:
                total += 250
            else:
                total += grids[k, a, b]
    return total


@_kernel
def search_cluster(
    pts: NDArray[np.float64],
    dts: NDArray[np.float64],  # nearest sweeps first
    grids: NDArray[np.uint8],
    corners: NDArray[np.float64],
    inv_cell: float,
    near: int,  # sweeps used in the coarse pass
    coarse: float,  # m/s
    reach: int,  # coarse steps
    keep: int,
    penalty: float,  # bytes per m/s and point-sweep
) -> tuple[float, float, float, float]:
    """vx, vy (m/s), cost at rest and at the best velocity (mean bytes)."""
    K, n = len(dts), len(pts)
    side = 2 * reach + 1
    table = np.empty((side, side))
    for a in range(side):
        for b in range(side):
            vx, vy = (a - reach) * coarse, (b - reach) * coarse
            table[a, b] = cost_of(pts, vx, vy, dts, grids, corners, inv_cell, 0, near) / (near * n) + penalty * np.sqrt(
                vx * vx + vy * vy
            )
    # Local minima of the coarse table, best first.
    top = np.full((keep, 3), np.inf)
    for a in range(side):
        for b in range(side):
            v = table[a, b]
            if v >= top[keep - 1, 0]:
                continue
            low = True
            for u in range(max(0, a - 1), min(side, a + 2)):
                for w in range(max(0, b - 1), min(side, b + 2)):
                    if table[u, w] < v:
                        low = False
            if not low:
                continue
            q = keep - 1
            while q > 0 and top[q - 1, 0] > v:
                top[q] = top[q - 1]
                q -= 1
            top[q, 0], top[q, 1], top[q, 2] = v, (a - reach) * coarse, (b - reach) * coarse
    rest = cost_of(pts, 0.0, 0.0, dts, grids, corners, inv_cell, 0, K) / (K * n)
    best, bx, by = rest, 0.0, 0.0
    for q in range(keep):
        if not top[q, 0] < np.inf:
            break
        x, y = top[q, 1], top[q, 2]
        c = cost_of(pts, x, y, dts, grids, corners, inv_cell, 0, K) / (K * n) + penalty * np.sqrt(x * x + y * y)
        step = coarse / 2
        while step > 0.06:
            moved = True
            rounds = 0
            while moved and rounds < 6:
                moved = False
                rounds += 1
                cx, cy = x, y
                for u in range(-1, 2):
                    for w in range(-1, 2):
                        if u == 0 and w == 0:
                            continue
                        tx, ty = cx + u * step, cy + w * step
                        t = cost_of(pts, tx, ty, dts, grids, corners, inv_cell, 0, K) / (K * n) + penalty * np.sqrt(
                            tx * tx + ty * ty
                        )
                        if t < c:
                            c, x, y, moved = t, tx, ty, True
            step /= 2
        if c < best:
            best, bx, by = c, x, y
    return bx, by, rest, best
