"""Ray against primitive: boxes, frusta, ellipsoids, cylinders, leafy ellipsoids.

A ray is o + t d in the primitive's own axes (origin at its centre). d need not have unit length: t is
in units of d. Only surfaces entered from outside count; leafy crowns may be hit through their holes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.synth.surfaces.noise import noise3

BOX, FRUSTUM, ELLIPSOID, CYLINDER_Z, CYLINDER_X, LEAFY = range(6)
INF = np.inf
NEAR = 1e-4

# Columns of a placed primitive: centre, cos and sin of its yaw, half sizes, side slopes (front, back, sides).
CX, CY, CZ, COS, SIN, HX, HY, HZ, S_FRONT, S_BACK, S_SIDE = range(11)
PLACED = 11


@njit(cache=True, nogil=True)
def place(shape: NDArray, owner: NDArray, pose: NDArray, out: NDArray) -> None:
    """Move primitives into the street frame.

    Args:
        shape: [N, 10] centre, yaw, half sizes, slopes in the owner's frame.
        owner: [N] row of `pose`, or -1 for what stands still in the street.
        pose: [O, 4] x, y, z, yaw of each object at the wanted time.
        out: [N, PLACED].
    """
    for n in range(shape.shape[0]):
        x, y, z, yaw = shape[n, 0], shape[n, 1], shape[n, 2], shape[n, 3]
        if owner[n] >= 0:
            o = owner[n]
            c, s = math.cos(pose[o, 3]), math.sin(pose[o, 3])
            x, y = pose[o, 0] + c * x - s * y, pose[o, 1] + s * x + c * y
            z, yaw = z + pose[o, 2], yaw + pose[o, 3]
        out[n, CX], out[n, CY], out[n, CZ] = x, y, z
        out[n, COS], out[n, SIN] = math.cos(yaw), math.sin(yaw)
        out[n, HX:PLACED] = shape[n, 4:10]


@njit(cache=True, nogil=True)
def _slab(o: float, d: float, low: float, high: float) -> tuple[float, float]:
    if abs(d) < 1e-12:
        return (-INF, INF) if low <= o <= high else (INF, -INF)
    a, b = (low - o) / d, (high - o) / d
    return (a, b) if a < b else (b, a)


@njit(cache=True, nogil=True)
def _box(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, placed: NDArray, n: int) -> float:
    t0, t1 = _slab(ox, dx, -placed[n, HX], placed[n, HX])
    a, b = _slab(oy, dy, -placed[n, HY], placed[n, HY])
    t0, t1 = max(t0, a), min(t1, b)
    if t0 > t1:
        return INF
    a, b = _slab(oz, dz, -placed[n, HZ], placed[n, HZ])
    t0, t1 = max(t0, a), min(t1, b)
    return t0 if NEAR < t0 <= t1 else INF


@njit(cache=True, nogil=True)
def _plane(room: float, rate: float, t0: float, t1: float) -> tuple[float, float]:
    """Narrow [t0, t1] to where room - rate t >= 0."""
    if rate > 1e-12:
        return t0, min(t1, room / rate)
    if rate < -1e-12:
        return max(t0, room / rate), t1
    return (t0, t1) if room >= 0.0 else (INF, -INF)


@njit(cache=True, nogil=True)
def _frustum(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, placed: NDArray, n: int) -> float:
    t0, t1 = _slab(oz, dz, -placed[n, HZ], placed[n, HZ])
    if t0 > t1:
        return INF
    up = oz + placed[n, HZ]
    t0, t1 = _plane(placed[n, HY] - oy - placed[n, S_FRONT] * up, dy + placed[n, S_FRONT] * dz, t0, t1)
    t0, t1 = _plane(placed[n, HY] + oy - placed[n, S_BACK] * up, -dy + placed[n, S_BACK] * dz, t0, t1)
    t0, t1 = _plane(placed[n, HX] - ox - placed[n, S_SIDE] * up, dx + placed[n, S_SIDE] * dz, t0, t1)
    t0, t1 = _plane(placed[n, HX] + ox - placed[n, S_SIDE] * up, -dx + placed[n, S_SIDE] * dz, t0, t1)
    return t0 if NEAR < t0 <= t1 else INF


@njit(cache=True, nogil=True)
def _roots(a: float, b: float, c: float) -> tuple[float, float]:
    """Roots of a t^2 + 2 b t + c, ascending; (INF, -INF) without any."""
    disc = b * b - a * c
    if disc < 0.0 or a < 1e-18:
        return INF, -INF
    root = math.sqrt(disc)
    return (-b - root) / a, (-b + root) / a


@njit(cache=True, nogil=True)
def _ellipsoid(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, placed: NDArray, n: int
) -> tuple[float, float]:
    ix, iy, iz = 1.0 / placed[n, HX], 1.0 / placed[n, HY], 1.0 / placed[n, HZ]
    ox, oy, oz, dx, dy, dz = ox * ix, oy * iy, oz * iz, dx * ix, dy * iy, dz * iz
    return _roots(dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz, ox * ox + oy * oy + oz * oz - 1.0)


@njit(cache=True, nogil=True)
def leaf(x: float, y: float, z: float) -> bool:
    """Whether a crown's surface has leaves at this place of its own axes (m); elsewhere is a hole."""
    return noise3(x * 3.1, y * 3.1, z * 3.1, 11) * 0.6 + noise3(x * 8.3, y * 8.3, z * 8.3, 5) * 0.4 > 0.43


@njit(cache=True, nogil=True)
def _leafy(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, placed: NDArray, n: int) -> float:
    t0, t1 = _ellipsoid(ox, oy, oz, dx, dy, dz, placed, n)
    if NEAR < t0 <= t1 and leaf(ox + t0 * dx, oy + t0 * dy, oz + t0 * dz):
        return t0
    if NEAR < t0 <= t1 and leaf(ox + t1 * dx, oy + t1 * dy, oz + t1 * dz):
        return t1
    return INF


@njit(cache=True, nogil=True)
def _cylinder(a: float, b: float, h: float, da: float, db: float, dh: float, radius: float, half: float) -> float:
    """Upright along its third axis, with caps."""
    t0, t1 = _slab(h, dh, -half, half)
    if da * da + db * db < 1e-18:
        if a * a + b * b > radius * radius:
            return INF
    else:
        s0, s1 = _roots(da * da + db * db, a * da + b * db, a * a + b * b - radius * radius)
        t0, t1 = max(t0, s0), min(t1, s1)
    return t0 if NEAR < t0 <= t1 else INF


@njit(cache=True, nogil=True)
def intersect(
    kind: int, placed: NDArray, n: int, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float
) -> float:
    """First t of a ray given in the primitive's axes, INF without a hit."""
    if kind == BOX:
        return _box(ox, oy, oz, dx, dy, dz, placed, n)
    if kind == FRUSTUM:
        return _frustum(ox, oy, oz, dx, dy, dz, placed, n)
    if kind == ELLIPSOID:
        t0, t1 = _ellipsoid(ox, oy, oz, dx, dy, dz, placed, n)
        return t0 if NEAR < t0 <= t1 else INF
    if kind == CYLINDER_Z:
        return _cylinder(ox, oy, oz, dx, dy, dz, placed[n, HX], placed[n, HZ])
    if kind == CYLINDER_X:
        return _cylinder(oy, oz, ox, dy, dz, dx, placed[n, HY], placed[n, HX])
    return _leafy(ox, oy, oz, dx, dy, dz, placed, n)


@njit(cache=True, nogil=True)
def _frustum_normal(x: float, y: float, z: float, placed: NDArray, n: int) -> tuple[float, float, float]:
    up = z + placed[n, HZ]
    front = abs(placed[n, HY] - y - placed[n, S_FRONT] * up)
    back = abs(placed[n, HY] + y - placed[n, S_BACK] * up)
    side = abs(placed[n, HX] - abs(x) - placed[n, S_SIDE] * up)
    best = min(front, back, side, placed[n, HZ] - abs(z))
    if best == front:
        scale = 1.0 / math.sqrt(1.0 + placed[n, S_FRONT] ** 2)
        return 0.0, scale, placed[n, S_FRONT] * scale
    if best == back:
        scale = 1.0 / math.sqrt(1.0 + placed[n, S_BACK] ** 2)
        return 0.0, -scale, placed[n, S_BACK] * scale
    if best == side:
        scale = 1.0 / math.sqrt(1.0 + placed[n, S_SIDE] ** 2)
        return math.copysign(scale, x), 0.0, placed[n, S_SIDE] * scale
    return 0.0, 0.0, math.copysign(1.0, z)


@njit(cache=True, nogil=True)
def normal(kind: int, placed: NDArray, n: int, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Outward unit normal at a surface point, in the primitive's axes."""
    if kind == BOX or kind == FRUSTUM:
        return _frustum_normal(x, y, z, placed, n)
    if kind == CYLINDER_Z:
        if abs(abs(z) - placed[n, HZ]) < 1e-6:
            return 0.0, 0.0, math.copysign(1.0, z)
        return x / placed[n, HX], y / placed[n, HX], 0.0
    if kind == CYLINDER_X:
        if abs(abs(x) - placed[n, HX]) < 1e-6:
            return math.copysign(1.0, x), 0.0, 0.0
        return 0.0, y / placed[n, HY], z / placed[n, HY]
    nx, ny, nz = x / placed[n, HX] ** 2, y / placed[n, HY] ** 2, z / placed[n, HZ] ** 2
    scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * scale, ny * scale, nz * scale


@njit(cache=True, nogil=True)
def to_local(placed: NDArray, n: int, x: float, y: float, z: float) -> tuple[float, float, float]:
    """A street point in the primitive's axes."""
    x, y = x - placed[n, CX], y - placed[n, CY]
    return placed[n, COS] * x + placed[n, SIN] * y, placed[n, COS] * y - placed[n, SIN] * x, z - placed[n, CZ]


def corners(placed: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 8, 3] corners of each primitive's oriented box, street frame."""
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=np.float64)
    local = signs[None] * placed[:, None, HX : HZ + 1]
    cos, sin = placed[:, COS, None], placed[:, SIN, None]
    x = placed[:, CX, None] + cos * local[..., 0] - sin * local[..., 1]
    y = placed[:, CY, None] + sin * local[..., 0] + cos * local[..., 1]
    return np.stack([x, y, placed[:, CZ, None] + local[..., 2]], axis=-1)


def distance_to(placed: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] distance from a street point to each oriented box (0 inside): nothing of it is nearer."""
    x, y = point[0] - placed[:, CX], point[1] - placed[:, CY]
    local = np.stack(
        [
            placed[:, COS] * x + placed[:, SIN] * y,
            placed[:, COS] * y - placed[:, SIN] * x,
            point[2] - placed[:, CZ],
        ],
        axis=-1,
    )
    outside: NDArray[np.float64] = np.maximum(np.abs(local) - placed[:, HX : HZ + 1], 0.0)
    return np.asarray(np.linalg.norm(outside, axis=-1))
