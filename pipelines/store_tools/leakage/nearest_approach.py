"""Where two GPS tracks come closest, between frames too: an ego moves metres from one frame to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipelines.geometry.geodesy import earth_centred

BLOCK = 1 << 20
"""Pairs of steps compared at once; bounds the memory for long tracks."""
TIE = 1e-3
"""Metres: of places that differ by less, the first is named; parallel lanes would else end anywhere."""

Segments = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Starts [S, 3] and steps [S, 3], m."""


@dataclass(frozen=True, slots=True)
class Approach:
    """The nearest approach of track a and track b."""

    distance_m: float
    frame_a: int
    """Frame of a nearest to the place."""
    frame_b: int


def nearest_approach(
    a: NDArray[np.float64],  # [F, 2] latitude, longitude, degrees
    b: NDArray[np.float64],  # [G, 2]
) -> Approach:
    """Least distance of two polylines, in metres, and the frames next to it.

    The tracks are straight between frames, and lie on the WGS84 ellipsoid: height is left out, so that a bridge
    and the road below it are close. At height h distances are longer by the factor h / 6.4e6 m (1e-4 at 600 m).
    They are straight lines through the Earth: `earth_centred` gives the error, and a step of L m sags by
    L^2 / (8 R), 0.2 mm for 100 m. The order of the arguments does not change the distance; of places equally
    close to 1 mm the first of `a` is named, then the first of `b`.
    """
    starts_a, steps_a = _segments(earth_centred(a))
    starts_b, steps_b = _segments(earth_centred(b))
    middle_a, half_a = starts_a + steps_a / 2, np.linalg.norm(steps_a, axis=1) / 2
    middle_b, half_b = starts_b + steps_b / 2, np.linalg.norm(steps_b, axis=1) / 2
    # Middles lie on the tracks: the least distance of two of them bounds the answer from above. Less both half
    # steps it bounds a pair of steps from below.
    nearest = np.asarray(cKDTree(middle_b).query(middle_a)[0])
    bound = float(nearest.min())
    rows = np.flatnonzero(nearest - half_a - half_b.max() <= bound + TIE)
    held, frames = np.inf, (0, 0)
    for block in np.array_split(rows, -(-len(rows) * len(half_b) // BLOCK)):
        apart = np.linalg.norm(middle_a[block, None] - middle_b, axis=-1)
        row, j = np.nonzero(apart - half_a[block, None] - half_b <= bound + TIE)
        if not len(row):
            continue
        i = block[row]
        s, t, gap = closest_points((starts_a[i], steps_a[i]), (starts_b[j], steps_b[j]))
        bound = min(bound, float(gap.min()))
        if gap.min() < held - TIE:
            k = int(np.argmax(gap <= gap.min() + TIE))
            held, frames = float(gap[k]), (int(i[k] + (s[k] > 0.5)), int(j[k] + (t[k] > 0.5)))
    return Approach(bound, *frames)


def _segments(points: NDArray[np.float64]) -> Segments:
    """The steps of a track [F, 3]; one frame is one step of length 0."""
    if len(points) == 1:
        return points, np.zeros_like(points)
    return points[:-1], np.diff(points, axis=0)


def closest_points(
    first: Segments, second: Segments
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Parameters s, t in [0, 1] of the closest points of K pairs of segments, and the least distance (m), [K] each.

    Where ends are as close to within `TIE`, s and t are those of an end.

    The squared distance is a convex quadratic of (s, t): on the unit square its least value lies at the one
    stationary point or on an edge, and on an edge a point stands against a segment.
    """
    (p, u), (q, v) = first, second
    apart = p - q
    uu, vv, uv = (u * u).sum(-1), (v * v).sum(-1), (u * v).sum(-1)
    au, av = (apart * u).sum(-1), (apart * v).sum(-1)
    zero, one = np.zeros(len(p)), np.ones(len(p))
    inner_s, inner_t = _stationary(uu, vv, uv, au, av)
    s = np.stack([zero, one, _along(-au, uu), _along(uv - au, uu), inner_s])
    t = np.stack([_along(av, vv), _along(av + uv, vv), zero, one, inner_t])
    gap = np.linalg.norm(apart + s[..., None] * u - t[..., None] * v, axis=-1)  # [5, K]
    least = gap.min(axis=0)
    pick = np.argmax(gap <= least + TIE, axis=0), np.arange(len(p))
    return s[pick], t[pick], least


def _along(dot: NDArray[np.float64], squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parameter of the foot of a point on a segment; 0 on one without length."""
    return np.clip(np.divide(dot, squared, out=np.zeros_like(dot), where=squared > 0), 0.0, 1.0)


def _stationary(
    uu: NDArray[np.float64],
    vv: NDArray[np.float64],
    uv: NDArray[np.float64],
    au: NDArray[np.float64],
    av: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parameters where both lines are closest, clipped to the square (its points are never closer than the answer)."""
    det = uu * vv - uv * uv
    crossing = det > 1e-12 * uu * vv  # of parallels an end is among the closest points
    s = np.divide(uv * av - vv * au, det, out=np.zeros_like(det), where=crossing)
    t = np.divide(uu * av - uv * au, det, out=np.zeros_like(det), where=crossing)
    return np.clip(s, 0.0, 1.0), np.clip(t, 0.0, 1.0)
