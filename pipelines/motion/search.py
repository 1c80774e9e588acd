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
    maps: NDArray[np.uint8],  # [K, N, N] of `maps.distance_map`
    corners: NDArray[np.float64],  # [K, 2] m
    fine: float,  # cells per metre
    sweeps: int,  # how many of the K count
) -> int:
    """Sum of distance bytes of points that move straight; 250 off a map."""
    total = 0
    n, m = maps.shape[1], maps.shape[2]
    for k in range(sweeps):
        ox, oy = vx * dts[k] - corners[k, 0], vy * dts[k] - corners[k, 1]
        for i in range(len(pts)):
            a = np.int64(np.floor((pts[i, 0] + ox) * fine))
            b = np.int64(np.floor((pts[i, 1] + oy) * fine))
            total += int(maps[k, a, b]) if 0 <= a < n and 0 <= b < m else 250
    return total


@_kernel
def turning_cost(
    pts: NDArray[np.float64],
    centre: NDArray[np.float64],  # [2] m
    vx: float,
    vy: float,
    rate: float,  # rad/s
    dts: NDArray[np.float64],
    maps: NDArray[np.uint8],
    corners: NDArray[np.float64],
    fine: float,
) -> int:
    """The same for points that also turn about their centre, whose path bends with them."""
    total = 0
    n, m = maps.shape[1], maps.shape[2]
    for k in range(len(dts)):
        # Sine and cosine by their series: angles stay below a radian, and every CPU gives the same bits.
        a = rate * dts[k]
        sin, cos = a * (1 - a * a / 6 * (1 - a * a / 20)), 1 - a * a / 2 * (1 - a * a / 12)
        h = a / 2
        half_sin, half_cos = h * (1 - h * h / 6), 1 - h * h / 2 * (1 - h * h / 12)
        ox = centre[0] + (half_cos * vx - half_sin * vy) * dts[k] - corners[k, 0]
        oy = centre[1] + (half_sin * vx + half_cos * vy) * dts[k] - corners[k, 1]
        for i in range(len(pts)):
            x, y = pts[i, 0] - centre[0], pts[i, 1] - centre[1]
            u = np.int64(np.floor((cos * x - sin * y + ox) * fine))
            v = np.int64(np.floor((sin * x + cos * y + oy) * fine))
            total += int(maps[k, u, v]) if 0 <= u < n and 0 <= v < m else 250
    return total


@_kernel
def mean_point(pts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of points [n, 2], summed in their order."""
    out = np.zeros(2)
    for i in range(len(pts)):
        out += pts[i]
    return out / len(pts)


@_kernel
def coarse_minima(
    pts: NDArray[np.float64],
    dts: NDArray[np.float64],
    maps: NDArray[np.uint8],
    corners: NDArray[np.float64],
    fine: float,
    nearest: int,  # sweeps that are tried: those next to this one
    step: float,  # m/s
    reach: int,  # steps either way
    keep: int,
    penalty: float,  # bytes per m/s
) -> NDArray[np.float64]:
    """The best local minima of a coarse table of velocities, [keep, 3]: cost, vx, vy; infinite without one."""
    side = 2 * reach + 1
    table = np.empty((side, side))
    for a in range(side):
        for b in range(side):
            vx, vy = (a - reach) * step, (b - reach) * step
            sums = cost_of(pts, vx, vy, dts, maps, corners, fine, nearest)
            table[a, b] = sums / (nearest * len(pts)) + penalty * np.sqrt(vx * vx + vy * vy)
    top = np.full((keep, 3), np.inf)
    for a in range(side):
        for b in range(side):
            value = table[a, b]
            near = table[max(0, a - 1) : a + 2, max(0, b - 1) : b + 2]
            if value >= top[keep - 1, 0] or value > near.min():
                continue
            place = keep - 1
            while place > 0 and top[place - 1, 0] > value:
                top[place] = top[place - 1]
                place -= 1
            top[place, 0], top[place, 1], top[place, 2] = value, (a - reach) * step, (b - reach) * step
    return top


@_kernel
def descend(
    pts: NDArray[np.float64],
    centre: NDArray[np.float64],
    vx: float,
    vy: float,
    rate: float,
    dts: NDArray[np.float64],
    maps: NDArray[np.uint8],
    corners: NDArray[np.float64],
    fine: float,
    step: float,  # m/s, halved down to 0.06
    penalty: float,
) -> tuple[float, float, float]:
    """Cost (mean bytes) and vx, vy of the minimum that neighbours in steps lead to."""
    scale = 1.0 / (len(dts) * len(pts))
    cost = turning_cost(pts, centre, vx, vy, rate, dts, maps, corners, fine) * scale
    cost += penalty * np.sqrt(vx * vx + vy * vy)
    while step > 0.06:
        for _ in range(6):
            x, y = vx, vy
            for k in range(9):
                tx, ty = x + (k // 3 - 1) * step, y + (k % 3 - 1) * step
                tried = turning_cost(pts, centre, tx, ty, rate, dts, maps, corners, fine) * scale
                tried += penalty * np.sqrt(tx * tx + ty * ty)
                if tried < cost:
                    cost, vx, vy = tried, tx, ty
            if vx == x and vy == y:
                break
        step /= 2
    return cost, vx, vy


@_kernel
def search_cluster(
    pts: NDArray[np.float64],
    dts: NDArray[np.float64],
    maps: NDArray[np.uint8],
    corners: NDArray[np.float64],
    fine: float,
    nearest: int,
    step: float,
    reach: int,
    keep: int,
    penalty: float,
) -> tuple[float, float, float, float]:
    """vx, vy (m/s) of the best translation, cost at rest and at it (mean bytes)."""
    centre = mean_point(pts)
    rest = cost_of(pts, 0.0, 0.0, dts, maps, corners, fine, len(dts)) / (len(dts) * len(pts))
    best, vx, vy = rest, 0.0, 0.0
    top = coarse_minima(pts, dts, maps, corners, fine, nearest, step, reach, keep, penalty)
    for k in range(keep):
        if top[k, 0] < np.inf:
            cost, x, y = descend(pts, centre, top[k, 1], top[k, 2], 0.0, dts, maps, corners, fine, step / 2, penalty)
            if cost < best:
                best, vx, vy = cost, x, y
    return vx, vy, rest, best


@_kernel
def search_turn(
    pts: NDArray[np.float64],
    vx: float,
    vy: float,
    best: float,
    dts: NDArray[np.float64],
    maps: NDArray[np.uint8],
    corners: NDArray[np.float64],
    fine: float,
    rates: NDArray[np.float64],
    penalty: float,
) -> tuple[float, float, float, float]:
    """The best vx, vy, yaw rate and cost from a translation on; the yaw rate stays 0 where nothing is better."""
    centre = mean_point(pts)
    bx, by, turn = vx, vy, 0.0
    for rate in rates:
        cost, x, y = descend(pts, centre, vx, vy, rate, dts, maps, corners, fine, 1.6, penalty)
        if cost < best:
            best, bx, by, turn = cost, x, y, rate
    return bx, by, turn, best


def cluster_motion(
    free: FreeReturns,
    around: Sequence[FreeReturns],
    columns: Sequence[tuple[NDArray, ...]],
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
        state[row] = verdict(velocity[row], cost[row], seen, len(mine), float(extent), config)
    return motion


def verdict(
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
    columns: Sequence[tuple[NDArray, ...]],
) -> float:
    """Stamps' time over the returns' own time between the nearest sweeps: a thing that the beam follows is met later.

    1 where the thing crosses the seam of the sweep, at which the times jump.
    """
    lag = _lag(centre[0], centre[1], columns[0])
    stamped = own = 0.0
    for stamp, column in zip(times, columns[1:], strict=True):
        dt = stamp - time
        later = _lag(centre[0] + velocity[0] * dt, centre[1] + velocity[1] * dt, column) - lag
        if abs(later) > 0.3 * abs(dt):
            return 1.0
        stamped += abs(dt)
        own += abs(dt + later)
    return stamped / own if own else 1.0


def _lag(x: float, y: float, columns: tuple[NDArray, ...]) -> float:
    """Time after the stamp at which the LiDAR looks to a place, s."""
    centre, lags = columns
    column = 0
    for _ in range(2):
        turn = turn_of(x - centre[column, 0], y - centre[column, 1])
        column = min(len(lags) - 1, int(turn * len(lags)))
    return float(lags[column])
