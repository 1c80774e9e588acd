"""Sun, sky, shadows and haze."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.synth.sensors.binning import bin_rectangles
from pipelines.synth.surfaces.noise import hash3, noise2
from pipelines.synth.surfaces.rays import COS, HX, HY, HZ, INF, SIN, corners, intersect, to_local
from pipelines.synth.surfaces.textures import M_BLOCK

CELL = 2.5
"""Size of a shadow cell across the sun's rays, m."""
CELLS = 64
HAZE = 420.0
"""Distance at which haze takes 63 %, m."""

RGB = tuple[float, float, float]


@njit(cache=True, nogil=True)
def _skyline(azimuth: float, seed: int) -> float:
    """Tangent of the elevation up to which far hills and towers stand."""
    hills = 0.018 + 0.04 * noise2(azimuth * 3.0, 0.0, seed + 50) + 0.012 * noise2(azimuth * 17.0, 1.0, seed + 51)
    cell = math.floor(azimuth * 34.0)
    tower = hash3(cell, 3, seed + 52)
    if noise2(azimuth * 2.0, 7.0, seed + 53) > 0.5 and tower > 0.35:
        return hills + 0.015 + 0.075 * tower * hash3(cell, 4, seed + 54)
    return hills


@njit(cache=True, nogil=True)
def clear_sky(dz: float) -> RGB:
    """Colour of the cloudless sky at the sine of an elevation."""
    up = max(dz, 0.0) ** 0.55
    return 0.74 - 0.58 * up, 0.82 - 0.48 * up, 0.90 - 0.18 * up


@njit(cache=True, nogil=True)
def sky(dx: float, dy: float, dz: float, sun: NDArray, seed: int) -> tuple[float, float, float, int]:
    """Colour of a unit direction that hits nothing; region 1 where the skyline stands."""
    azimuth, flat = math.atan2(dy, dx), math.hypot(dx, dy)
    if dz < _skyline(azimuth, seed) * flat:
        tone = 0.9 + 0.2 * hash3(math.floor(azimuth * 34.0), 5, seed)
        light = 0.92 + 0.16 * (1.0 if (dz / max(flat, 1e-9) * 260.0) % 1.0 > 0.5 else 0.0)
        return 0.40 * tone * light, 0.47 * tone * light, 0.56 * tone * light, 1
    r, g, b = clear_sky(dz)
    u, v = dx / (dz + 0.14) * 1.4, dy / (dz + 0.14) * 1.4
    cloud = 0.5 * noise2(u, v, seed) + 0.27 * noise2(u * 2.3, v * 2.3, seed + 1)
    cloud += 0.15 * noise2(u * 5.1, v * 5.1, seed + 2) + 0.08 * noise2(u * 11.3, v * 11.3, seed + 3)
    cover = max(0.0, min(1.0, (cloud - 0.47) * 4.5)) * min(1.0, dz * 9.0)
    shade = 0.97 - 0.28 * max(0.0, min(1.0, (cloud - 0.58) * 4.0))
    r, g, b = r + (shade - r) * cover, g + (shade - g) * cover, b + (shade * 1.02 - b) * cover
    near = max(0.0, dx * sun[0] + dy * sun[1] + dz * sun[2])
    glow = 0.25 * near**16 + 1.6 * near**900
    return r + glow, g + 0.93 * glow, b + 0.8 * glow, 0


def sun_axes(sun: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, 3] unit axes across the sun's rays."""
    u = np.cross(sun, [0.0, 0.0, 1.0])
    u /= np.linalg.norm(u)
    return np.stack([u, np.cross(sun, u)])


def shadow_grid(
    placed: NDArray[np.float64], mat: NDArray[np.int64], sun: NDArray[np.float64], centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Which primitives can shade a cell of the plane across the sun's rays.

    Returns:
        axes [3, 3] (two axes, then the grid's corner in the first two entries), and the cells' offsets
        [CELLS^2 + 1] into items.
    """
    axes = sun_axes(sun)
    corner = axes @ centre - 0.5 * CELL * CELLS
    uv = (corners(placed) @ axes.T - corner) / CELL
    low, high = np.floor(uv.min(axis=1)), np.floor(uv.max(axis=1))
    casts = (mat != M_BLOCK) & (high >= 0).all(axis=1) & (low < CELLS).all(axis=1)
    who = np.flatnonzero(casts)
    rectangles = np.clip(np.concatenate([low, high], axis=1)[who], 0, CELLS - 1).astype(np.int64)
    offsets, items = bin_rectangles(rectangles, who, CELLS, CELLS)
    return np.vstack([axes, [*corner, 0.0]]), offsets, items


@njit(cache=True, nogil=True)
def in_shadow(
    x: float,
    y: float,
    z: float,
    sun: NDArray,
    axes: NDArray,
    offsets: NDArray,
    items: NDArray,
    kind: NDArray,
    placed: NDArray,
) -> bool:
    """Whether anything stands between a street point and the sun; False outside the grid."""
    u = (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z - axes[2, 0]) / CELL
    v = (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z - axes[2, 1]) / CELL
    if u < 0.0 or v < 0.0 or u >= CELLS or v >= CELLS:
        return False
    cell = int(v) * CELLS + int(u)
    for q in range(offsets[cell], offsets[cell + 1]):
        n = items[q]
        ox, oy, oz = to_local(placed, n, x, y, z)
        dx = placed[n, COS] * sun[0] + placed[n, SIN] * sun[1]
        dy = placed[n, COS] * sun[1] - placed[n, SIN] * sun[0]
        power = ox * ox + oy * oy + oz * oz - placed[n, HX] ** 2 - placed[n, HY] ** 2 - placed[n, HZ] ** 2
        toward = ox * dx + oy * dy + oz * sun[2]
        if power > 0.0 and (toward > 0.0 or toward * toward < power):
            continue  # passes the sphere around it
        if intersect(kind[n], placed, n, ox, oy, oz, dx, dy, sun[2]) < INF:
            return True
    return False


@njit(cache=True, nogil=True)
def haze(r: float, g: float, b: float, distance: float) -> RGB:
    """Fade a colour into the horizon's."""
    w = 1.0 - math.exp(-((distance / HAZE) ** 1.4))
    return r + (0.70 - r) * w, g + (0.77 - g) * w, b + (0.85 - b) * w


@njit(cache=True, nogil=True)
def tone(value: float) -> float:
    """Linear light to a display value in [0, 1]: soft shoulder, then gamma."""
    value = 1.12 * max(value, 0.0)
    value = value * (1.0 + 0.12 * value) / (1.0 + 0.55 * value)
    return min(1.0, 1.13 * value ** (1.0 / 2.2))
