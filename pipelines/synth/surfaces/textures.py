"""Textures of objects, in their own axes so that they move with them.

Every function returns linear reflectance (r, g, b), a region (see `ground`) and gloss: the share of the
sky's mirror image. `col` is the primitive's row [r, g, b, a, b, c]; a, b, c are the material's own.
"""

from __future__ import annotations

import math

from numba import njit
from numpy.typing import NDArray

from pipelines.synth.surfaces.ground import DARK, GLASS, LAMP, PLAIN, TRIM, Colour, block
from pipelines.synth.surfaces.noise import fade, hash3, noise2, noise3
from pipelines.synth.surfaces.rays import HX, HY, HZ

(M_BLOCK, M_FACADE, M_PLAIN, M_LEAVES, M_BARK, M_BODY, M_CABIN, M_WHEEL, M_CLOTH, M_SIGN, M_BUS) = range(11)


@njit(cache=True, nogil=True)
def _wall(u: float, v: float, style: int, foot: float) -> float:
    """Brightness factor of the wall's stuff: brick, boards or plaster."""
    grain = 0.92 + 0.16 * noise2(u * 0.5, v * 0.25, style)
    if style % 3 == 0:
        row = math.floor(v / 0.09)
        offset = 0.5 * (row % 2)
        mortar = (v / 0.09) % 1.0 < 0.16 or (u / 0.28 + offset) % 1.0 < 0.06
        weight = fade(16.0, foot)
        tone = 0.82 + 0.36 * hash3(row, math.floor(u / 0.28 + offset), style)
        return grain * ((1.35 if mortar else tone) * weight + 1.03 * (1.0 - weight))
    if style % 3 == 1:
        return grain * (0.97 - 0.3 * fade(20.0, foot) * (1.0 if (v / 0.25) % 1.0 < 0.1 else 0.0))
    return grain * (0.96 + 0.08 * noise2(u * 6.0, v * 6.0, style) * fade(6.0, foot))


@njit(cache=True, nogil=True)
def _window(fu: float, fv: float, i: int, j: int, style: int) -> Colour:
    """A window in its unit square: frame, cross bar, glass, sometimes a curtain."""
    bar = 0.5 if style % 2 == 0 else 0.33
    if fu < 0.07 or fu > 0.93 or fv < 0.06 or fv > 0.95 or abs(fv - bar) < 0.02 or abs(fu - 0.5) < 0.025:
        return 0.55, 0.54, 0.50, TRIM, 0.0
    kind = hash3(i, j, style + 90)
    if kind < 0.25 and fv > 0.35 + hash3(i, j, style + 91) * 0.4:
        tone = 0.28 + 0.2 * hash3(i, j, style + 92)
        return tone, tone * 0.95, tone * 0.85, GLASS, 0.10
    tone = 0.02 + 0.05 * kind
    return tone, tone * 1.15, tone * 1.4, GLASS, 0.32


@njit(cache=True, nogil=True)
def _shop(u: float, v: float, height: float, style: int, n: int, col: NDArray, foot: float) -> Colour:
    """Ground floor: shop windows, doors, roller gates, a sign band above."""
    i = math.floor(u / 4.2)
    fu, fv = u / 4.2 - i, v / height
    kind = hash3(i, 7, style)
    if 0.76 < fv < 0.95 and kind < 0.62:
        r, g, b = hash3(i, 1, style), hash3(i, 2, style), hash3(i, 3, style)
        letter = 0.82 < fv < 0.90 and 0.15 < fu < 0.85 and noise2(u * 5.0, 0.5 * v, style + 40) > 0.5
        if letter and foot < 0.12:
            return 0.75, 0.73, 0.66, TRIM, 0.0
        return 0.05 + 0.4 * r * r, 0.05 + 0.35 * g * g, 0.06 + 0.4 * b * b, DARK, 0.0
    if kind < 0.45 and 0.06 < fu < 0.94 and 0.14 < fv < 0.74:
        return _window((fu - 0.06) / 0.88, (fv - 0.14) / 0.60, i, 0, style)
    if kind < 0.62 and 0.35 < fu < 0.62 and fv < 0.66:
        door = 0.10 + 0.12 * hash3(i, 5, style)
        return door * 1.2, door * 0.8, door * 0.6, DARK, 0.04
    if kind >= 0.62 and kind < 0.82 and 0.08 < fu < 0.92 and fv < 0.80:
        tone = 0.25 - 0.07 * fade(14.0, foot) * (1.0 if (v / 0.22) % 1.0 < 0.15 else 0.0)
        return tone, tone, tone * 1.05, DARK, 0.0
    wall = _wall(u, v, style, foot) * (0.72 if v > 0.6 else 0.5)
    return col[n, 0] * wall, col[n, 1] * wall, col[n, 2] * wall, PLAIN, 0.0


@njit(cache=True, nogil=True)
def facade(
    placed: NDArray, n: int, col: NDArray, x: float, y: float, z: float, nx: float, nz: float, foot: float
) -> Colour:
    """A house front; col = [wall colour, style, storey height, window pitch]."""
    style = int(col[n, 3])
    if nz > 0.5:
        return 0.16, 0.155, 0.15, PLAIN, 0.0
    side = abs(nx) > 0.5
    u, length = (y + placed[n, HY], 2 * placed[n, HY]) if side else (x + placed[n, HX], 2 * placed[n, HX])
    v, top, ground_floor = z + placed[n, HZ], 2 * placed[n, HZ], 4.0
    if v < ground_floor:
        return _shop(u, v, ground_floor, style, n, col, foot)
    if top - v < 0.5 or (v - ground_floor) % col[n, 4] < 0.14:
        return col[n, 0] * 0.75 + 0.12, col[n, 1] * 0.75 + 0.12, col[n, 2] * 0.75 + 0.11, TRIM, 0.0
    count = max(1.0, math.floor(length / col[n, 5]))
    fu = (u - 0.5 * (length - count * col[n, 5])) / col[n, 5]
    fv = (v - ground_floor) / col[n, 4]
    i, j = math.floor(fu), math.floor(fv)
    fu, fv = fu - i, fv - j
    if 0 <= i < count and 0.2 < fu < 0.8 and 0.25 < fv < 0.86 and (j + 1) * col[n, 4] + ground_floor < top:
        return _window((fu - 0.2) / 0.6, (fv - 0.25) / 0.61, i, j, style)
    wall = _wall(u, v, style, foot)
    return col[n, 0] * wall, col[n, 1] * wall, col[n, 2] * wall, PLAIN, 0.0


@njit(cache=True, nogil=True)
def _body_end(ux: float, v: float, front: bool, n: int, col: NDArray) -> Colour:
    """Front or rear of a car: ux in [0, 1] from the middle out, v in [0, 1] upward."""
    if ux > 0.58 and 0.52 < v < 0.86:
        return (0.75, 0.78, 0.80, LAMP, 0.1) if front else (0.50, 0.012, 0.015, LAMP, 0.05)
    if ux < 0.27 and (0.18 < v < 0.36 if front else 0.40 < v < 0.64):
        return 0.65, 0.66, 0.68, TRIM, 0.0
    if front and ux < 0.50 and 0.42 < v < 0.80:
        return 0.02, 0.02, 0.022, DARK, 0.03
    if v < 0.16:
        return 0.025, 0.025, 0.025, DARK, 0.0
    return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.07


@njit(cache=True, nogil=True)
def body(
    placed: NDArray, n: int, col: NDArray, x: float, y: float, z: float, nx: float, ny: float, nz: float
) -> Colour:
    """Lower half of a car; col = [paint, wheel y, wheel z above the part's bottom, wheel radius]."""
    v = (z + placed[n, HZ]) / (2 * placed[n, HZ])
    if nz > 0.75:
        return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.10
    if nz < -0.5:
        return 0.02, 0.02, 0.02, DARK, 0.0
    if abs(nx) < 0.6:
        return _body_end(abs(x) / placed[n, HX], v, ny > 0.0, n, col)
    wheel = math.hypot(abs(y) - col[n, 3], z + placed[n, HZ] - col[n, 4])
    if wheel < col[n, 5] * 1.17 or v < 0.14:
        return 0.018, 0.018, 0.018, DARK, 0.0
    ends = placed[n, HY] - abs(y)
    if ends < 0.28 and 0.55 < v < 0.85:
        return (0.7, 0.72, 0.74, LAMP, 0.1) if y > 0 else (0.48, 0.012, 0.015, LAMP, 0.05)
    seam = min(
        abs(y - 0.23 * placed[n, HY]), abs(y + 0.27 * placed[n, HY]), abs(y - 0.02 * placed[n, HY] - 0.9 * col[n, 3])
    )
    if seam < 0.012 and v > 0.2:
        return col[n, 0] * 0.25, col[n, 1] * 0.25, col[n, 2] * 0.25, DARK, 0.0
    if 0.70 < v < 0.75 and 0.0 < y + 0.20 * placed[n, HY] < 0.16:
        return 0.03, 0.03, 0.03, TRIM, 0.0
    return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.09


@njit(cache=True, nogil=True)
def cabin(
    placed: NDArray, n: int, col: NDArray, x: float, y: float, z: float, nx: float, ny: float, nz: float
) -> Colour:
    """Glass house of a car; col = [paint, pillar width, share of the rear side that is sheet metal, -]."""
    v = (z + placed[n, HZ]) / (2 * placed[n, HZ])
    if nz > 0.97:
        return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.10
    if abs(nx) > 0.6:
        up = z + placed[n, HZ]
        front, rear = placed[n, HY] - 0.9 * col[n, 3] - y, placed[n, HY] + y - 2 * placed[n, HY] * col[n, 4]
        front, rear = front - placed[n, 8] * up, rear - placed[n, 9] * up
        pillar = min(abs(y - 0.02), abs(y + 0.62 * placed[n, HY]))
        if 0.10 < v < 0.88 and front > 0.05 and rear > 0.06 and pillar > col[n, 3] * 0.5:
            return 0.022, 0.026, 0.030, GLASS, 0.22
        return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.09
    width = placed[n, HX] - placed[n, 10] * (z + placed[n, HZ])
    if 0.08 < v < 0.90 and abs(x) < width - 0.09:
        return 0.022, 0.028, 0.032, GLASS, 0.30
    return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.09


@njit(cache=True, nogil=True)
def bus(placed: NDArray, n: int, col: NDArray, x: float, y: float, z: float, nx: float, ny: float, nz: float) -> Colour:
    """Body of a bus or van; col = [paint, window pitch, sill as share of height, top of windows]."""
    v = (z + placed[n, HZ]) / (2 * placed[n, HZ])
    if abs(nz) > 0.7:
        return 0.5, 0.5, 0.5, PLAIN, 0.03
    if abs(nx) > 0.6:
        if (
            col[n, 4] < v < col[n, 5]
            and ((y + placed[n, HY]) / col[n, 3]) % 1.0 > 0.07
            and placed[n, HY] - abs(y) > 0.15
        ):
            return 0.022, 0.026, 0.03, GLASS, 0.24
        if col[n, 4] - 0.10 < v < col[n, 4] - 0.04:
            return 0.6, 0.6, 0.58, TRIM, 0.03
        return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.06
    if ny > 0 and 0.36 < v < col[n, 5] + 0.02 and abs(x) < 0.9 * placed[n, HX]:
        return 0.022, 0.028, 0.032, GLASS, 0.28
    if abs(x) > 0.72 * placed[n, HX] and 0.14 < v < 0.26:
        return (0.7, 0.7, 0.68, LAMP, 0.05) if ny > 0 else (0.5, 0.012, 0.012, LAMP, 0.05)
    return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.05


@njit(cache=True, nogil=True)
def wheel(placed: NDArray, n: int, x: float, y: float, z: float, nx: float) -> Colour:
    """Tyre and a five-spoke rim."""
    r = math.hypot(y, z) / placed[n, HY]
    if abs(nx) < 0.5 or r > 0.68:
        return 0.022, 0.022, 0.023, DARK, 0.0
    spoke = math.cos(5.0 * math.atan2(z, y))
    if r < 0.16 or r > 0.60 or spoke > 0.1:
        return 0.40, 0.41, 0.42, TRIM, 0.08
    return 0.05, 0.05, 0.05, DARK, 0.0


@njit(cache=True, nogil=True)
def leaves(n: int, col: NDArray, x: float, y: float, z: float, foot: float) -> Colour:
    """Leaves; deeper places of the crown are darker."""
    clump = noise3(x * 3.1, y * 3.1, z * 3.1, 11)
    fine = noise3(x * 13.0, y * 13.0, z * 13.0, 12) * fade(9.0, foot) + 0.5 * (1.0 - fade(9.0, foot))
    tone = 0.35 + 0.75 * clump + 0.65 * (fine - 0.5)
    warm = 0.85 + 0.4 * noise3(x * 1.1, y * 1.1, z * 1.1, 13)
    return col[n, 0] * tone * warm, col[n, 1] * tone, col[n, 2] * tone, PLAIN, 0.0


@njit(cache=True, nogil=True)
def sign(placed: NDArray, n: int, col: NDArray, x: float, y: float, z: float) -> Colour:
    """A painted plate with a pale border and bars of writing."""
    edge = min(placed[n, HX] - abs(x), placed[n, HZ] - abs(z))
    bars = (
        abs(x) < 0.7 * placed[n, HX]
        and (z / (0.5 * placed[n, HZ])) % 1.0 < 0.45
        and noise2(x * 9.0, z * 3.0, int(col[n, 3])) > 0.4
    )
    if edge < 0.03 or bars:
        return 0.72, 0.72, 0.70, TRIM, 0.0
    return col[n, 0], col[n, 1], col[n, 2], PLAIN, 0.02


@njit(cache=True, nogil=True)
def _vehicle(
    mat: int, placed: NDArray, n: int, col: NDArray, x: float, y: float, z: float, nx: float, ny: float, nz: float
) -> Colour:
    if mat == M_BODY:
        return body(placed, n, col, x, y, z, nx, ny, nz)
    if mat == M_CABIN:
        return cabin(placed, n, col, x, y, z, nx, ny, nz)
    if mat == M_BUS:
        return bus(placed, n, col, x, y, z, nx, ny, nz)
    return wheel(placed, n, x, y, z, nx)


@njit(cache=True, nogil=True)
def surface(
    mat: int,
    placed: NDArray,
    n: int,
    col: NDArray,
    street: NDArray,
    x: float,
    y: float,
    z: float,
    nx: float,
    ny: float,
    nz: float,
    foot: float,
) -> Colour:
    """Colour of a primitive at a point and normal of its own axes; foot: metres a pixel covers there."""
    if mat == M_BLOCK:
        return block(x + placed[n, 0], y + placed[n, 1], z + placed[n, 2], street, foot)
    if mat == M_FACADE:
        return facade(placed, n, col, x, y, z, nx, nz, foot)
    if mat == M_LEAVES:
        return leaves(n, col, x, y, z, foot)
    if mat == M_SIGN:
        return sign(placed, n, col, x, y, z)
    if mat == M_BODY or mat == M_CABIN or mat == M_BUS or mat == M_WHEEL:
        return _vehicle(mat, placed, n, col, x, y, z, nx, ny, nz)
    if mat == M_BARK:
        tone = 0.7 + 0.6 * noise3(x * 16.0, y * 16.0, z * 3.0, 31) * fade(9.0, foot)
        return col[n, 0] * tone, col[n, 1] * tone, col[n, 2] * tone, PLAIN, 0.0
    tone = 0.9 + 0.2 * noise3(x * 7.0, y * 7.0, z * 7.0, 32) * fade(7.0, foot)
    return col[n, 0] * tone, col[n, 1] * tone, col[n, 2] * tone, PLAIN, 0.0
