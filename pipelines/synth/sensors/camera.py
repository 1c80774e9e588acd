"""Pictures: ray casting of one camera at one time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.synth.sensors.binning import bin_rectangles
from pipelines.synth.sensors.lighting import clear_sky, haze, in_shadow, shadow_grid, sky, tone
from pipelines.synth.street.world import World
from pipelines.synth.surfaces import rays
from pipelines.synth.surfaces.ground import road
from pipelines.synth.surfaces.rays import COS, INF, SIN, intersect, normal
from pipelines.synth.surfaces.textures import M_LEAVES, surface

TILE = 8
GROUND, SKY = -1, -2


@dataclass(frozen=True, slots=True, eq=False)
class RenderedView:
    """A rendered view."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    depth: NDArray[np.float32]  # [H, W] m, z-depth at the pixel's centre; inf in the sky
    primitive: NDArray[np.int32]  # [H, W] row of the world's tables; -1 road, -2 sky


@njit(cache=True, nogil=True)
def trace(
    items: NDArray,
    first: int,
    last: int,
    kind: NDArray,
    placed: NDArray,
    origin: NDArray,
    near: NDArray,
    height: float,
    dx: float,
    dy: float,
    dz: float,
) -> tuple[int, float]:
    """First hit of a ray among items[first:last], which are sorted by `near`: primitive and t."""
    best, who = INF, SKY
    if dz < -1e-9:
        best, who = -height / dz, GROUND
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    for q in range(first, last):
        n = items[q]
        if near[n] > best * length:
            break
        lx = placed[n, COS] * dx + placed[n, SIN] * dy
        ly = placed[n, COS] * dy - placed[n, SIN] * dx
        ox, oy, oz = origin[n, 0], origin[n, 1], origin[n, 2]
        toward = ox * lx + oy * ly + oz * dz
        if origin[n, 3] > 0.0 and (toward > 0.0 or toward * toward < origin[n, 3] * length * length):
            continue  # passes the sphere around it
        t = intersect(kind[n], placed, n, ox, oy, oz, lx, ly, dz)
        if t < best:
            best, who = t, n
    return who, best


@njit(cache=True, nogil=True)
def _hit_colour(
    n: int, t: float, kind: NDArray, mat: NDArray, placed: NDArray, col: NDArray, street: NDArray, origin: NDArray,
    dx: float, dy: float, dz: float, foot: float,
) -> tuple[float, float, float, int, float, float, float, float]:  # fmt: skip
    """Reflectance, region, gloss and street normal at a primitive's hit."""
    cos, sin = placed[n, COS], placed[n, SIN]
    lx, ly = cos * dx + sin * dy, cos * dy - sin * dx
    x, y, z = origin[n, 0] + t * lx, origin[n, 1] + t * ly, origin[n, 2] + t * dz
    nx, ny, nz = normal(kind[n], placed, n, x, y, z)
    r, g, b, region, gloss = surface(mat[n], placed, n, col, street, x, y, z, nx, ny, nz, foot)
    if nx * lx + ny * ly + nz * dz > 0.0:  # the far side of a crown, seen through a hole
        nx, ny, nz = -nx, -ny, -nz
    return r, g, b, region, gloss, cos * nx - sin * ny, sin * nx + cos * ny, nz


@njit(cache=True, nogil=True)
def _light(
    r: float, g: float, b: float, gloss: float, nx: float, ny: float, nz: float, dx: float, dy: float, dz: float,
    sun: NDArray, lit: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Light leaving a surface: sun, sky, light from the ground, the sky's mirror image."""
    sky_share, bounce = 0.62 + 0.38 * nz, 0.16 * (0.5 - 0.5 * nz)
    direct = 1.75 * lit
    red = r * (1.00 * direct + 0.36 * sky_share + bounce)
    green = g * (0.94 * direct + 0.43 * sky_share + bounce)
    blue = b * (0.84 * direct + 0.54 * sky_share + 0.9 * bounce)
    if gloss > 0.0:
        along = dx * nx + dy * ny + dz * nz
        up = dz - 2.0 * along * nz
        weight = gloss * (0.35 + 0.65 * (1.0 + along) ** 3 * 1.5)
        mr, mg, mb = clear_sky(up)
        if up < 0.0:
            mr, mg, mb = 0.16, 0.16, 0.15
        red, green, blue = red + weight * mr, green + weight * mg, blue + weight * mb
    return red, green, blue


@njit(cache=True, nogil=True)
def _sample(
    u: float, v: float, items: NDArray, first: int, last: int, near: NDArray, origin: NDArray, eye: NDArray,
    rot: NDArray, K: NDArray, kind: NDArray, mat: NDArray, placed: NDArray, col: NDArray, street: NDArray,
    sun: NDArray, sky_seed: int, axes: NDArray, offsets: NDArray, shades: NDArray,
) -> tuple[float, float, float, int, float, int]:  # fmt: skip
    """Light through pixel coordinates (u, v): r, g, b, primitive, z-depth, code of what is seen."""
    a, b0 = (u - K[2]) / K[0], (v - K[3]) / K[1]
    dx = rot[0, 0] * a + rot[0, 1] * b0 + rot[0, 2]
    dy = rot[1, 0] * a + rot[1, 1] * b0 + rot[1, 2]
    dz = rot[2, 0] * a + rot[2, 1] * b0 + rot[2, 2]
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    n, t = trace(items, first, last, kind, placed, origin, near, eye[2], dx, dy, dz)
    if n == SKY:
        r, g, b, region = sky(dx / length, dy / length, dz / length, sun, sky_seed)
        return r, g, b, SKY, INF, region
    distance = t * length
    foot = t / K[0]
    x, y, z = eye[0] + t * dx, eye[1] + t * dy, eye[2] + t * dz
    if n == GROUND:
        foot /= math.sqrt(min(1.0, max(1e-4, -dz / length)))
        r, g, b, region, gloss = road(x, y, street, foot)
        nx, ny, nz = 0.0, 0.0, 1.0
    else:
        r, g, b, region, gloss, nx, ny, nz = _hit_colour(n, t, kind, mat, placed, col, street, origin, dx, dy, dz, foot)
    lit = nx * sun[0] + ny * sun[1] + nz * sun[2]
    if n >= 0 and mat[n] == M_LEAVES:
        lit = 0.45 + 0.55 * lit
    if lit > 0.0 and in_shadow(
        x + 0.004 * nx, y + 0.004 * ny, z + 0.004 * nz, sun, axes, offsets, shades, kind, placed
    ):
        lit = 0.0
    r, g, b = _light(r, g, b, gloss, nx, ny, nz, dx / length, dy / length, dz / length, sun, max(lit, 0.0))
    r, g, b = haze(r, g, b, distance)
    face = 0 if abs(nz) > 0.7 else (1 if abs(nx) > abs(ny) else 2)
    return r, g, b, n, t, ((n + 3) * 16 + region) * 4 + face


@njit(cache=True, nogil=True)
def _is_edge(code: NDArray, i: int, j: int) -> bool:
    here = code[i, j]
    return (
        (i > 0 and code[i - 1, j] != here)
        or (j > 0 and code[i, j - 1] != here)
        or (i + 1 < code.shape[0] and code[i + 1, j] != here)
        or (j + 1 < code.shape[1] and code[i, j + 1] != here)
    )


@njit(cache=True, nogil=True)
def _develop(light: NDArray, code: NDArray, rgb: NDArray) -> None:
    """Mean light of a pixel's samples to 8 bits."""
    for i in range(light.shape[0]):
        for j in range(light.shape[1]):
            share = 1.0 / 3.0 if _is_edge(code, i, j) else 1.0
            for c in range(3):
                rgb[i, j, c] = int(tone(light[i, j, c] * share) * 255.0 + 0.5)


@njit(cache=True, nogil=True)
def _render(
    tile_offsets: NDArray, tile_items: NDArray, near: NDArray, origin: NDArray, eye: NDArray, rot: NDArray, K: NDArray,
    kind: NDArray, mat: NDArray, placed: NDArray, col: NDArray, street: NDArray, sun: NDArray, sky_seed: int,
    axes: NDArray, offsets: NDArray, shades: NDArray, rgb: NDArray, depth: NDArray, primitive: NDArray, code: NDArray,
) -> None:  # fmt: skip
    """One sample at each pixel's centre, then two more where neighbours show different things."""
    height, width = depth.shape
    columns = (width + TILE - 1) // TILE
    light = np.zeros((height, width, 3), dtype=np.float32)
    for smooth in range(2):
        for i in range(height):
            for j in range(width):
                if smooth == 1 and not _is_edge(code, i, j):
                    continue
                tile = (i // TILE) * columns + j // TILE
                for s in range(1 + smooth):
                    du, dv = ((0.17, 0.67), (0.83, 0.33))[s] if smooth == 1 else (0.5, 0.5)
                    r, g, b, n, t, seen = _sample(
                        j + du, i + dv, tile_items, tile_offsets[tile], tile_offsets[tile + 1], near, origin, eye, rot,
                        K, kind, mat, placed, col, street, sun, sky_seed, axes, offsets, shades,
                    )  # fmt: skip
                    if smooth == 0:
                        depth[i, j], primitive[i, j], code[i, j] = t, n, seen
                    light[i, j, 0] += min(r, 2.0)
                    light[i, j, 1] += min(g, 2.0)
                    light[i, j, 2] += min(b, 2.0)
    _develop(light, code, rgb)


def screen_tiles(
    placed: NDArray[np.float64], near: NDArray[np.float64], eye: NDArray[np.float64], rot: NDArray[np.float64],
    K: tuple[float, float, float, float], width: int, height: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Candidates of each 8 x 8 pixel tile, near ones first: offsets and items of `bin_rectangles`."""
    local = (rays.corners(placed) - eye) @ rot
    z = local[..., 2]
    front, crosses = (z > 0.05).any(axis=1), (z <= 0.05).any(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = local[..., 0] / z * K[0] + K[2]
        v = local[..., 1] / z * K[1] + K[3]
    box = np.stack([u.min(axis=1), v.min(axis=1), u.max(axis=1), v.max(axis=1)], axis=1)
    box[crosses] = [0.0, 0.0, width, height]
    seen = front & (box[:, 2] >= 0) & (box[:, 3] >= 0) & (box[:, 0] <= width) & (box[:, 1] <= height)
    order = np.argsort(near, kind="stable")
    order = order[seen[order]]
    columns, rows = -(-width // TILE), -(-height // TILE)
    cells = np.floor(box[order] / TILE)
    cells = np.clip(cells, 0, [columns - 1, rows - 1, columns - 1, rows - 1]).astype(np.int64)
    offsets, items = bin_rectangles(cells, order, columns, rows)
    return offsets, items


def local_origin(placed: NDArray[np.float64], eye: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 4] a street point in every primitive's axes, and its power to the sphere around it (m^2)."""
    x, y = eye[0] - placed[:, rays.CX], eye[1] - placed[:, rays.CY]
    cos, sin = placed[:, COS], placed[:, SIN]
    z = eye[2] - placed[:, rays.CZ]
    power = x * x + y * y + z * z - np.square(placed[:, rays.HX : rays.HZ + 1]).sum(axis=1)
    return np.stack([cos * x + sin * y, cos * y - sin * x, z, power], axis=-1)


def render(
    world: World,
    time: float,
    cam2street: NDArray[np.float64],  # [4, 4]
    K: tuple[float, float, float, float],
    width: int,
    height: int,
) -> RenderedView:
    """The world as a pinhole camera sees it at `time` (s); K = fx, fy, cx, cy with pixel centres at +0.5."""
    placed = world.placed(time)
    rot, eye = np.ascontiguousarray(cam2street[:3, :3]), cam2street[:3, 3].copy()
    near = rays.distance_to(placed, eye)
    tile_offsets, tile_items = screen_tiles(placed, near, eye, rot, K, width, height)
    ahead = eye + 45.0 * rot[:, 2] * np.array([1.0, 1.0, 0.0])
    axes, offsets, shades = shadow_grid(placed, world.mat, world.sun, ahead)
    rgb = np.empty((height, width, 3), dtype=np.uint8)
    depth = np.empty((height, width), dtype=np.float32)
    primitive, code = np.empty((height, width), dtype=np.int32), np.empty((height, width), dtype=np.int32)
    _render(
        tile_offsets, tile_items, near, local_origin(placed, eye), eye, rot, np.array(K), world.kind, world.mat, placed,
        world.col, world.street, world.sun, world.sky_seed, axes, offsets, shades, rgb, depth, primitive, code,
    )  # fmt: skip
    return RenderedView(rgb, depth, primitive)
