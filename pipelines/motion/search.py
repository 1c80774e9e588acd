"""The velocity under which a cluster lands on returns of the sweeps around: coarse to fine, then turns too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.motion.agreement import MOVES, RESTS, UNKNOWN, ClusterMotion
from pipelines.motion.candidates import FreeReturns
from pipelines.motion.config import MotionConfig
from pipelines.motion.maps import FULL
from pipelines.motion.rays import turn_of

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
def mean_point(pts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of points [n, 2], summed in their order."""
    out = np.zeros(2)
    for i in range(len(pts)):
        out += pts[i]
    return out / len(pts)


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
    centre = mean_point(pts)
    cx, cy = centre[0], centre[1]
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


def cluster_motion(
    free: FreeReturns,
    around: Sequence[FreeReturns],
    columns: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    config: MotionConfig,
) -> ClusterMotion:
    """The motion of every cluster of a sweep.

    Args:
        free: the sweep's free returns.
        around: those of the sweeps it must land on, nearest in time first.
        columns: where the LiDAR was [C, 3] m, and its time after the stamp [C] s, for each column of azimuth: of this
            sweep and of the first two around.
        config: constants.
    """
    count = free.count
    state, turn = np.full(count, UNKNOWN, np.int8), np.zeros(count)
    velocity, centre, cost = np.zeros((count, 2)), np.zeros((count, 2)), np.ones((count, 2))
    motion = ClusterMotion(state, velocity, turn, centre, cost, np.zeros(count))
    if not around:
        return motion
    dts = np.array([one.time - free.time for one in around])
    maps, corners = np.stack([one.distance for one in around]), np.stack([one.corner for one in around])
    nearest = int((np.abs(np.abs(dts) - np.abs(dts[0])) < 0.5 * np.abs(dts[0])).sum())
    metre, fine = FULL / config.cap, 1.0 / config.cell
    penalty, reach = config.speed_weight * metre, int(config.max_speed / config.coarse_step)
    for row in range(count):
        mine = free.order[free.start[row] : free.start[row + 1]]
        points = free.points[mine, :2]
        extent = np.ptp(points, axis=0).max()
        if len(mine) < config.min_points or extent > config.max_extent:
            continue
        if len(points) > config.sample:
            points = points[np.arange(config.sample) * len(points) // config.sample]
        points = np.ascontiguousarray(points)
        vx, vy, rest, best = search_cluster(
            points, dts, maps, corners, fine, nearest, config.coarse_step, reach, config.candidates, penalty
        )
        centre[row] = mean_point(points)
        if best > config.turn_cost * metre and len(points) >= config.turn_points and extent > config.turn_extent:
            tx, ty, rate, turned = search_turn(
                points, vx, vy, best, dts, maps, corners, fine, np.array(config.turn_rates), penalty
            )
            if turned < config.turn_gain * best:
                vx, vy, turn[row], best = tx, ty, rate, turned
        scale = _time_scale(centre[row], (vx, vy), free.time, [one.time for one in around[:2]], columns)
        velocity[row], turn[row], cost[row] = (vx * scale, vy * scale), turn[row] * scale, (rest / metre, best / metre)
        seen = int(free.met[row]), int(free.clear[row])
        state[row] = _verdict(velocity[row], cost[row], seen, len(mine), float(extent), config)
    return motion


def _verdict(
    velocity: NDArray[np.float64],
    cost: NDArray[np.float64],
    seen: tuple[int, int],
    points: int,
    extent: float,
    config: MotionConfig,
) -> int:
    """Whether a cluster moves, rests, or cannot be told."""
    rest, best = cost
    met, clear = seen
    strong = points >= config.strong_points and extent > config.strong_extent and clear >= config.strong_clear * met
    strong &= rest - best > config.strong_gain and best < config.strong_ratio * rest
    fast = np.sqrt(velocity[0] * velocity[0] + velocity[1] * velocity[1]) >= config.min_speed
    better = best < config.max_cost and rest - best > max(config.gain, config.gain_ratio * best)
    if fast and better and (strong or clear >= config.clear_ratio * met):
        return MOVES
    return RESTS if rest < config.rest_cost else UNKNOWN


def _time_scale(
    centre: NDArray[np.float64],
    velocity: tuple[float, float],
    time: float,
    times: Sequence[float],
    columns: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> float:
    """Stamps' time over the returns' own time between the nearest sweeps: a thing that the beam follows is met later.

    1 where the thing crosses the seam of the sweep, at which the times jump.
    """
    lag = _lag(centre[0], centre[1], *columns[0])
    stamped = own = 0.0
    for stamp, column in zip(times, columns[1:], strict=True):
        dt = stamp - time
        later = _lag(centre[0] + velocity[0] * dt, centre[1] + velocity[1] * dt, *column) - lag
        if abs(later) > 0.3 * abs(dt):
            return 1.0
        stamped += abs(dt)
        own += abs(dt + later)
    return stamped / own if own else 1.0


def _lag(x: float, y: float, centre: NDArray[np.float64], lags: NDArray[np.float64]) -> float:
    """Time after the stamp at which the LiDAR looks to a place, s."""
    column = 0
    for _ in range(2):
        turn = turn_of(x - centre[column, 0], y - centre[column, 1])
        column = min(len(lags) - 1, int(turn * len(lags)))
    return float(lags[column])
