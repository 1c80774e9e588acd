"""Motion as piecewise cubic polynomials: positions and velocities are exact at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

STEP = 0.1
"""Seconds between knots."""

Path2D = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Path: arc length [T] m -> [T, 3] x, y, yaw."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Cubic Hermite curves on even knots; C channels (x, y, z, yaw, ...), O objects if any."""

    start: float  # s, time of the first knot
    value: NDArray[np.float64]  # [T, ..., C]
    slope: NDArray[np.float64]  # [T, ..., C] time derivative at the knots

    @property
    def end(self) -> float:
        """Time of the last knot, s."""
        return self.start + STEP * (len(self.value) - 1)

    def at(self, time: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Value and exact time derivative, both [*time.shape, ..., C].

        Raises:
            ValueError: a time lies outside the track.
        """
        t = np.asarray(time, dtype=np.float64)
        if t.size and (t.min() < self.start - 1e-9 or t.max() > self.end + 1e-9):
            raise ValueError(f"time {t.min():.3f}..{t.max():.3f} s leaves the track {self.start}..{self.end} s")
        knot = np.clip(np.floor((t - self.start) / STEP).astype(np.int64), 0, len(self.value) - 2)
        u: NDArray[np.float64] = (t - self.start) / STEP - knot
        u = u.reshape(u.shape + (1,) * (self.value.ndim - 1))
        a, b = self.value[knot], self.value[knot + 1]
        m, n = self.slope[knot] * STEP, self.slope[knot + 1] * STEP
        c2, c3 = 3 * (b - a) - 2 * m - n, 2 * (a - b) + m + n
        value = a + u * (m + u * (c2 + u * c3))
        rate = (m + u * (2 * c2 + u * 3 * c3)) / STEP
        return np.asarray(value), np.asarray(rate)


def knots(start: float, end: float) -> NDArray[np.float64]:
    """[T] knot times covering [start, end]."""
    return np.asarray(start + STEP * np.arange(int(np.ceil((end - start) / STEP - 1e-9)) + 1), dtype=np.float64)


def fit(times: NDArray[np.float64], value: NDArray[np.float64]) -> Track:
    """Smooth track through values [T, C] at even knots."""
    spline = CubicSpline(times, value, axis=0)
    return Track(float(times[0]), value, np.asarray(spline(times, 1)))


def stack(tracks: list[Track]) -> Track:
    """Tracks of O objects with equal knots as one, [T, O, C]."""
    return Track(
        tracks[0].start, np.stack([t.value for t in tracks], axis=1), np.stack([t.slope for t in tracks], axis=1)
    )


def travelled(times: NDArray[np.float64], speed: Callable[[NDArray[np.float64]], ArrayLike]) -> NDArray[np.float64]:
    """[T] metres travelled since t = 0 at `speed(t)` m/s (negative before)."""
    fine = np.linspace(times[0], times[-1], 20 * (len(times) - 1) + 1)
    v = np.broadcast_to(np.asarray(speed(fine), dtype=np.float64), fine.shape)
    length = np.concatenate([[0.0], np.cumsum(0.5 * (v[1:] + v[:-1]) * np.diff(fine))])
    return np.asarray(np.interp(times, fine, length) - np.interp(0.0, fine, length))


def line(x: float, y: float, yaw: float) -> Path2D:
    """Straight on from (x, y); yaw counter-clockwise from +y."""

    def curve(s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([x - np.sin(yaw) * s, y + np.cos(yaw) * s, np.full_like(s, yaw)], axis=-1)

    return curve


def turn(x: float, y: float, yaw: float, before: float, radius: float, angle: float) -> Path2D:
    """Straight for `before` metres, an arc through `angle` (positive: to the left), straight on."""

    def curve(s: NDArray[np.float64]) -> NDArray[np.float64]:
        done = np.clip((s - before) / (radius * abs(angle)), 0.0, 1.0)
        phi = yaw + angle * done
        side = np.sign(angle) * radius
        start = line(x, y, yaw)(np.minimum(s, before))
        arc_x = side * (np.cos(phi) - np.cos(yaw))
        arc_y = side * (np.sin(phi) - np.sin(yaw))
        after = np.maximum(s - before - radius * abs(angle), 0.0)
        out = np.stack([start[:, 0] + arc_x, start[:, 1] + arc_y, phi], axis=-1)
        out[:, 0] -= np.sin(phi) * after
        out[:, 1] += np.cos(phi) * after
        return out

    return curve
