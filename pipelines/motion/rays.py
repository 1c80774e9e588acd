"""What a sweep saw along the way to a place: a surface through it, clear air past it, or something in front.

A return says where a surface is, and also that there was none on the way. The returns of a sweep are sorted into
columns of azimuth about the LiDAR, each column by slope; a place is compared with the returns just above and below
it, in its own column and in the two beside it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_kernel = njit(cache=True, nogil=True)


@_kernel
def turn_of(x: float, y: float) -> float:
    """Angle of (x, y) in turns, 0 to 1, within 2e-6: only + - * /, so that every CPU gives the same bits."""
    a, b = abs(x), abs(y)
    if a + b == 0.0:
        return 0.0
    z = min(a, b) / max(a, b)
    q = z * z
    turn = z * (
        0.99997726 + q * (-0.33262347 + q * (0.19354346 + q * (-0.11643287 + q * (0.05265332 - q * 0.01172120))))
    )
    turn *= 0.15915494309189535
    if b > a:
        turn = 0.25 - turn
    if x < 0.0:
        turn = 0.5 - turn
    if y < 0.0:
        turn = 1.0 - turn
    return turn if turn < 1.0 else 0.0


@_kernel
def sort_returns(
    points: NDArray[np.float64],  # [P, 3] m
    times: NDArray[np.float64],  # [P] s
    use: NDArray[np.bool_],
    origin: NDArray[np.float64],  # [3] m, LiDAR at the stamp
    rate: NDArray[np.float64],  # [3] m/s of the LiDAR
    stamp: float,
    columns: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Returns by column and slope.

    Returns:
        starts [C + 1] of the columns, slope and horizontal range (m) of each return, LiDAR position of each column
        [C, 3] m, and its time after the stamp [C] s.
    """
    n = len(points)
    column = np.empty(n, np.int32)
    slope, away = np.empty(n), np.empty(n)
    starts = np.zeros(columns + 1, np.int32)
    when = np.zeros(columns, np.int64)  # microseconds: exact, whatever the order of the points
    for i in range(n):
        column[i] = -1
        if not use[i]:
            continue
        lag = times[i] - stamp
        x = points[i, 0] - origin[0] - rate[0] * lag
        y = points[i, 1] - origin[1] - rate[1] * lag
        r = np.sqrt(x * x + y * y)
        if r < 0.5:
            continue
        away[i], slope[i] = r, (points[i, 2] - origin[2] - rate[2] * lag) / r
        column[i] = min(columns - 1, int(turn_of(x, y) * columns))
        starts[column[i] + 1] += 1
        when[column[i]] += np.int64(np.floor(lag * 1e6))
    centre, lags = np.empty((columns, 3)), np.zeros(columns)
    last = 0.0
    for c in range(columns):
        if starts[c + 1] > 0:
            last = when[c] * 1e-6 / starts[c + 1]
        lags[c] = last
        for k in range(3):
            centre[c, k] = origin[k] + rate[k] * last
    for c in range(columns):
        starts[c + 1] += starts[c]
    # One whole number per return sorts by slope, then range: no tie is left to the order of the points.
    fill = starts[:-1].copy()
    keys = np.empty(starts[-1], np.int64)
    for i in range(n):
        if column[i] >= 0:
            at = fill[column[i]]
            steep = min(max(slope[i], -1000.0), 1000.0)
            keys[at] = np.int64(np.floor(steep * 1e6)) * 1048576 + np.int64(min(away[i], 1000.0) * 1000.0)
            fill[column[i]] = at + 1
    slopes, ranges = np.empty(len(keys), np.float32), np.empty(len(keys), np.float32)
    for c in range(columns):
        keys[starts[c] : starts[c + 1]].sort()
    for i in range(len(keys)):
        ranges[i] = (keys[i] & 1048575) * 0.001
        slopes[i] = (keys[i] >> 20) * 1e-6
    return starts, slopes, ranges, centre, lags


@_kernel
def evidence(
    points: NDArray[np.float64],  # [Q, 3] m
    starts: NDArray[np.int32],
    slopes: NDArray[np.float32],
    ranges: NDArray[np.float32],
    centre: NDArray[np.float64],
    gap: float,  # most slope between a place and the returns it is compared with
    near: float,  # m
    wide: float,  # m per m of range
    bit: np.uint32,
    met: NDArray[np.uint32],  # [Q] `bit` is set where a surface passes through the place
    clear: NDArray[np.uint32],  # [Q] `bit` is set where the LiDAR looked past it
) -> None:
    """What one sweep says about places: a surface there, or clear air in all columns that tell; else nothing is set."""
    columns = len(centre)
    for i in range(len(points)):
        # The LiDAR drives on while it turns: the column says where it was, and from there the column is right.
        c = 0
        for _ in range(2):
            x, y = points[i, 0] - centre[c, 0], points[i, 1] - centre[c, 1]
            c = min(columns - 1, int(turn_of(x, y) * columns))
        x, y = points[i, 0] - centre[c, 0], points[i, 1] - centre[c, 1]
        r = np.sqrt(x * x + y * y)
        if r < 1.0:
            continue
        slope = (points[i, 2] - centre[c, 2]) / r
        tolerance = near + wide * r
        past, there, seen = 0, 0, 0
        for d in range(-1, 2):
            k = (c + d) % columns
            low, high = starts[k], starts[k + 1]
            a, b = low, high
            while a < b:
                middle = (a + b) // 2
                if slopes[middle] < slope:
                    a = middle + 1
                else:
                    b = middle
            above = a < high and slopes[a] - slope < gap
            below = a > low and slope - slopes[a - 1] < gap
            if not (above and below):
                continue
            seen += 1
            shortest, longest = min(ranges[a], ranges[a - 1]), max(ranges[a], ranges[a - 1])
            if shortest > r + tolerance:
                past += 1
            elif (
                abs(ranges[a] - r) < tolerance
                or abs(ranges[a - 1] - r) < tolerance
                or (longest > r and longest - shortest < 1.5)
            ):
                there += 1
        if there > 0:
            met[i] |= bit
        elif past == seen and past >= 2:
            clear[i] |= bit
