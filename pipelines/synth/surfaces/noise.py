"""Deterministic value noise from an integer hash."""

from __future__ import annotations

import math

from numba import njit


@njit(cache=True, nogil=True)
def hash3(i: int, j: int, k: int) -> float:
    """Uniform in [0, 1) from three integers."""
    h = (i * 374761393 + j * 668265263 + k * 1440662683 + 974634187) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 461845907) & 0xFFFFFFFF
    return float((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


@njit(cache=True, nogil=True)
def noise2(x: float, y: float, seed: int) -> float:
    """Smooth value noise in [0, 1), period of one unit."""
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    low = hash3(i, j, seed) * (1.0 - u) + hash3(i + 1, j, seed) * u
    high = hash3(i, j + 1, seed) * (1.0 - u) + hash3(i + 1, j + 1, seed) * u
    return low * (1.0 - v) + high * v


@njit(cache=True, nogil=True)
def noise3(x: float, y: float, z: float, seed: int) -> float:
    """Smooth value noise in [0, 1) over space."""
    k = math.floor(z)
    w = z - k
    w = w * w * (3.0 - 2.0 * w)
    return noise2(x, y, seed + 57 * k) * (1.0 - w) + noise2(x, y, seed + 57 * k + 57) * w


@njit(cache=True, nogil=True)
def fade(frequency: float, footprint: float) -> float:
    """Weight of a texture of `frequency` (1/m) seen with a pixel `footprint` (m): 0 where it would alias."""
    return max(0.0, min(1.0, 1.6 - 2.0 * frequency * footprint))
