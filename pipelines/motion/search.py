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


@_kernel
def turning_cost(
    pts: NDArray[np.float64],
    cx: float,
    cy: float,
    vx: float,
    vy: float,
    w: float,  # rad/s
    dts: NDArray[np.float64],
    grids: NDArray[np.uint8],
    corners: NDArray[np.float64],
    inv_cell: float,
) -> int:
    """Sum of distance bytes when the cluster also turns about (cx, cy) and its path bends with it."""
    total = 0
    n, m = grids.shape[1], grids.shape[2]
    for k in range(len(dts)):
        a = w * dts[k]
        s, c = a * (1 - a * a / 6 * (1 - a * a / 20)), 1 - a * a / 2 * (1 - a * a / 12)
        h = a / 2
        hs, hc = h * (1 - h * h / 6), 1 - h * h / 2 * (1 - h * h / 12)
        ox = cx + (hc * vx - hs * vy) * dts[k] - corners[k, 0]
        oy = cy + (hs * vx + hc * vy) * dts[k] - corners[k, 1]
        for i in range(len(pts)):
            x, y = pts[i, 0] - cx, pts[i, 1] - cy
            u = np.int64((c * x - s * y + ox) * inv_cell)
            v = np.int64((s * x + c * y + oy) * inv_cell)
            if u < 0 or v < 0 or u >= n or v >= m:
                total += 250
            else:
                total += grids[k, u, v]
    return total


@_kernel
def search_turn(
    pts: NDArray[np.float64],
    vx: float,
    vy: float,
    best: float,
    dts: NDArray[np.float64],
    grids: NDArray[np.uint8],
    corners: NDArray[np.float64],
    inv_cell: float,
    rates: NDArray[np.float64],
    penalty: float,
) -> tuple[float, float, float, float]:
    """The best vx, vy, yaw rate and cost from a translation on; the yaw rate stays 0 where nothing is better."""
    K, n = len(dts), len(pts)
    cx, cy = 0.0, 0.0
    for i in range(n):
        cx += pts[i, 0]
        cy += pts[i, 1]
    cx, cy = cx / n, cy / n
    bx, by, bw = vx, vy, 0.0
    for r in range(len(rates)):
        w = rates[r]
        x, y = vx, vy
        c = turning_cost(pts, cx, cy, x, y, w, dts, grids, corners, inv_cell) / (K * n) + penalty * np.sqrt(x * x + y * y)
        step = 1.6
        while step > 0.08:
            moved, rounds = True, 0
            while moved and rounds < 4:
                moved = False
                rounds += 1
                px, py = x, y
                for u in range(-1, 2):
                    for q in range(-1, 2):
                        if u == 0 and q == 0:
                            continue
                        tx, ty = px + u * step, py + q * step
                        t = turning_cost(pts, cx, cy, tx, ty, w, dts, grids, corners, inv_cell) / (K * n) + penalty * np.sqrt(
                            tx * tx + ty * ty
                        )
                        if t < c:
                            c, x, y, moved = t, tx, ty, True
            step /= 2
        if c < best:
            best, bx, by, bw = c, x, y, w
    return bx, by, bw, best
