"""Textures of the ground: asphalt with markings, and the city blocks (kerb, pavement, lawn).

`street` is the plan as numbers: [half width, lanes a direction, lane width, half width of a cross
street, seed, number of cross streets, their y ...]. Colours are linear reflectances.
"""

from __future__ import annotations

import math

from numba import njit
from numpy.typing import NDArray

from pipelines.synth.surfaces.noise import fade, hash3, noise2

HALF, LANES, LANE, CROSS_HALF, SEED, CROSSES = range(6)
PAVEMENT = 3.0
"""Width of the pavement, m."""
KERB = 0.15
"""Height of the kerb, m."""

# What a hit is beyond its primitive: edges between regions are smoothed, and LiDAR and labels use them.
PLAIN, PAINT, STOP_LINE, CROSSWALK, GRASS, GLASS, DARK, TRIM, LAMP = range(9)

Colour = tuple[float, float, float, int, float]


@njit(cache=True, nogil=True)
def nearest_cross(street: NDArray, y: float) -> float:
    """Signed distance along y to the nearest cross street's axis; 1e9 without any."""
    best = 1e9
    for k in range(int(street[CROSSES])):
        if abs(y - street[CROSSES + 1 + k]) < abs(best):
            best = y - street[CROSSES + 1 + k]
    return best


@njit(cache=True, nogil=True)
def _lines(across: float, along: float, lanes: int, lane: float, half: float, clear: float) -> int:
    """0 none, 1 white, 2 yellow: lane lines of a road, `clear` metres from its next junction."""
    if clear < 5.0:
        return 0
    if 0.09 < abs(across) < 0.22:
        return 2
    if lanes > 1 and abs(abs(across) - lane) < 0.07 and (along / 9.0) % 1.0 < 0.36:
        return 1
    edge = lanes * lane
    if half - edge > 1.5 and abs(abs(across) - edge) < 0.06:
        return 1
    return 0


@njit(cache=True, nogil=True)
def _marking(x: float, y: float, street: NDArray) -> tuple[int, float, float, float]:
    """Region and paint colour at a place of the road; PLAIN where there is no paint."""
    half, cross_half = street[HALF], street[CROSS_HALF]
    dy = nearest_cross(street, y)
    gap_y, gap_x = abs(dy) - cross_half, abs(x) - half
    if gap_y < 0.0 and gap_x < 0.0:
        return PLAIN, 0.0, 0.0, 0.0
    on_main = gap_x < 0.0
    gap, across, along = (gap_y, x, y) if on_main else (gap_x, dy, x)
    if 0.8 < gap < 3.8 and (across / 1.1 + 0.25) % 1.0 < 0.5:
        return CROSSWALK, 0.62, 0.62, 0.60
    coming = (x > 0.0) == (dy < 0.0) if on_main else (dy < 0.0) == (x < 0.0)
    if 4.7 < gap < 5.15 and coming and abs(across) < (street[LANES] if on_main else 1.0) * street[LANE]:
        return STOP_LINE, 0.62, 0.62, 0.60
    kind = _lines(across, along, int(street[LANES]) if on_main else 1, street[LANE], half if on_main else 0.0, gap)
    if kind == 2:
        return PAINT, 0.62, 0.40, 0.06
    if kind == 1:
        return PAINT, 0.60, 0.60, 0.58
    return PLAIN, 0.0, 0.0, 0.0


@njit(cache=True, nogil=True)
def _asphalt(x: float, y: float, street: NDArray, foot: float) -> tuple[float, float]:
    """Grey level of bare asphalt and its warmth."""
    seed = int(street[SEED])
    grey = 0.105 + 0.05 * (noise2(x * 0.21, y * 0.11, seed) - 0.5)
    grey += 0.035 * (noise2(x * 1.3, y * 0.7, seed + 1) - 0.5) * fade(1.3, foot)
    grey += 0.060 * (noise2(x * 14.0, y * 14.0, seed + 2) - 0.5) * fade(14.0, foot)
    track = (abs(x) / street[LANE]) % 1.0
    grey *= 1.0 - 0.16 * math.exp(-(((track - 0.5) ** 2 - 0.05) ** 2) * 900.0)
    i, j = math.floor(x / 3.5), math.floor(y / 7.0)
    if hash3(i, j, seed + 3) < 0.16:  # a repaired trench
        u, v = x / 3.5 - i, y / 7.0 - j
        if 0.1 < u < 0.3 + 0.6 * hash3(i, j, seed + 4) and 0.1 < v < 0.4 + 0.5 * hash3(i, j, seed + 5):
            grey *= 0.66
    crack = abs(noise2(x * 0.45, y * 0.3, seed + 6) + 0.3 * noise2(x * 2.9, y * 2.9, seed + 7) - 0.8)
    if crack < 0.009:
        grey *= 1.0 - 0.38 * fade(9.0, foot)
    manhole = hash3(math.floor(x / 5.0), math.floor(y / 11.0), seed + 8)
    if manhole < 0.13:
        r2 = (x % 5.0 - 2.5) ** 2 + (y % 11.0 - 5.5) ** 2
        if r2 < 0.17:
            grey *= 0.55 if r2 < 0.13 else 1.5
    return grey, 0.97 + 0.05 * noise2(x * 0.05, y * 0.05, seed + 9)


@njit(cache=True, nogil=True)
def road(x: float, y: float, street: NDArray, foot: float) -> Colour:
    """Reflectance (r, g, b), region and gloss of the road at a street place."""
    grey, warm = _asphalt(x, y, street, foot)
    region, r, g, b = _marking(x, y, street)
    if region != PLAIN:
        worn = noise2(x * 5.0, y * 5.0, 3) * 0.5 + noise2(x * 17.0, y * 17.0, 4) * 0.5 * fade(17.0, foot)
        keep = 1.0 - max(0.0, min(0.75, 3.0 * (worn - 0.42)))
        return r * keep + grey * (1 - keep), g * keep + grey * (1 - keep), b * keep + grey * (1 - keep), region, 0.0
    return grey * warm, grey, grey * (2.0 - warm) * 1.02, PLAIN, 0.0


@njit(cache=True, nogil=True)
def block(x: float, y: float, z: float, street: NDArray, foot: float) -> Colour:
    """Kerb, pavement slabs and lawn of a city block; arguments as `road`, z above the road."""
    seed = int(street[SEED])
    gap = min(abs(x) - street[HALF], abs(nearest_cross(street, y)) - street[CROSS_HALF])
    rough = noise2(x * 9.0, y * 9.0, seed + 20) * fade(9.0, foot)
    stain = noise2(x * 0.6, y * 0.6, seed + 21)
    if gap < 0.25 or z < KERB - 0.01:
        grey = 0.30 + 0.07 * rough + 0.06 * stain
        if (y / 2.5) % 1.0 < 0.012 or (x / 2.5) % 1.0 < 0.012:
            grey *= 1.0 - 0.4 * fade(6.0, foot)
        return grey, grey * 0.98, grey * 0.94, TRIM, 0.0
    if gap < PAVEMENT:
        tone = hash3(math.floor(x / 1.5), math.floor(y / 1.5), seed + 22)
        grey = 0.25 + 0.05 * tone + 0.06 * rough + 0.07 * (stain - 0.5)
        if (x / 1.5) % 1.0 < 0.02 or (y / 1.5) % 1.0 < 0.02:
            grey *= 1.0 - 0.45 * fade(7.0, foot)
        return grey, grey * 0.965, grey * 0.90, PLAIN, 0.0
    blade = noise2(x * 11.0, y * 11.0, seed + 23) * fade(11.0, foot) + 0.5 * (1.0 - fade(11.0, foot))
    patch = noise2(x * 0.7, y * 0.7, seed + 24)
    tone = 0.55 + 0.55 * blade + 0.35 * (patch - 0.5)
    return (0.085 + 0.05 * patch) * tone, 0.15 * tone, 0.045 * tone, GRASS, 0.0
