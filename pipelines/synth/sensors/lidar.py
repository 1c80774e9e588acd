"""Both LiDARs: every beam is cast at its own time, with the ego and all objects where they are then."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.synth.config import FRAME_PERIOD, ForwardSpec, SpinningSpec, SynthConfig
from pipelines.synth.sensors.camera import GROUND, trace
from pipelines.synth.street import models
from pipelines.synth.street.world import World, euler2matrix
from pipelines.synth.surfaces import ground
from pipelines.synth.surfaces.ground import DARK, GLASS, LAMP, PAINT, STOP_LINE, TRIM, road
from pipelines.synth.surfaces.rays import COS, CX, CY, HX, HY, HZ, SIN, normal, place, to_local
from pipelines.synth.surfaces.textures import M_BLOCK, M_LEAVES, surface

FOOT = 0.02
"""Size of a beam's spot for textures, m."""


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """Points of one sensor's sweep, street frame; P points in firing order."""

    points: NDArray[np.float64]  # [P, 3]
    intensity: NDArray[np.float64]  # [P] 0..255, whole numbers
    time: NDArray[np.float64]  # [P] s
    velocity: NDArray[np.float64]  # [P, 3] m/s, exact
    actor: NDArray[np.int32]  # [P] index of the object, -1 for what stands in the street
    semantic: NDArray[np.int64]  # [P] PandaSet class
    origin: NDArray[np.float64]  # [P, 3] where the beam started


@dataclass(frozen=True, slots=True, eq=False)
class Beams:
    """Rays of one sweep in columns that fire together; C columns of B beams."""

    time: NDArray[np.float64]  # [C]
    origin: NDArray[np.float64]  # [C, 3]
    direction: NDArray[np.float64]  # [C, B, 3] unit
    max_range: float


def _aim(world: World, time: NDArray, azimuth: NDArray, elevation: NDArray, mount: tuple, reach: float) -> Beams:
    ego2street = euler2matrix(world.ego.at(time)[0])
    flat = np.cos(elevation)
    a, up = azimuth[:, None], np.broadcast_to(np.sin(elevation), (len(azimuth), len(elevation)))
    local = np.stack([np.sin(a) * flat, np.cos(a) * flat, up], axis=-1)
    direction = np.einsum("cij,cbj->cbi", ego2street[:, :3, :3], local)
    origin = ego2street[:, :3, :3] @ np.array(mount) + ego2street[:, :3, 3]
    return Beams(time, origin, np.ascontiguousarray(direction), reach)


def spinning_beams(world: World, spec: SpinningSpec, stamp: float) -> Beams:
    """One turn that ends at `stamp`, from the rear clockwise over the left, the front and the right."""
    turn = (np.arange(spec.columns) + 0.5) / spec.columns
    time = stamp + (turn - 1.0) * FRAME_PERIOD
    return _aim(world, time, 2 * np.pi * turn - np.pi, np.array(spec.elevations), spec.position, spec.max_range)


def forward_beams(world: World, spec: ForwardSpec, stamp: float) -> Beams:
    """The forward grid, left to right."""
    time = stamp + np.linspace(spec.first, spec.last, spec.columns)
    azimuth = np.linspace(-spec.azimuth, spec.azimuth, spec.columns)
    return _aim(world, time, azimuth, np.linspace(*spec.elevation[::-1], spec.rows), spec.position, spec.max_range)


def sweep_time(azimuth: NDArray[np.float64] | float, stamp: float) -> NDArray[np.float64]:
    """When the spinning LiDAR looks to an azimuth (rad, clockwise from the heading)."""
    return np.asarray(stamp + (np.asarray(azimuth) / (2 * np.pi) - 0.5) * FRAME_PERIOD)


def forward_time(azimuth: NDArray[np.float64] | float, stamp: float, spec: ForwardSpec) -> NDArray[np.float64]:
    """When the forward LiDAR looks to an azimuth; clamped to its field."""
    share = (np.clip(np.asarray(azimuth) / spec.azimuth, -1.0, 1.0) + 1.0) / 2.0
    return np.asarray(stamp + spec.first + share * (spec.last - spec.first))


@njit(cache=True, nogil=True)
def _candidates(
    placed: NDArray, eye: NDArray, ux: float, uy: float, reach: float, near: NDArray, origin: NDArray
) -> NDArray:
    """Primitives a column may meet, near ones first; fills their rows of `near` and `origin`."""
    found = np.empty(placed.shape[0], dtype=np.int64)
    count = 0
    for n in range(placed.shape[0]):
        rx, ry = placed[n, CX] - eye[0], placed[n, CY] - eye[1]
        radius = math.hypot(placed[n, HX], placed[n, HY]) + 0.05 + 0.012 * (abs(rx) + abs(ry))
        along = rx * ux + ry * uy
        if abs(rx * uy - ry * ux) > radius or along < -radius or along > reach + radius:
            continue
        ox, oy, oz = to_local(placed, n, eye[0], eye[1], eye[2])
        gap_x, gap_y = max(abs(ox) - placed[n, HX], 0.0), max(abs(oy) - placed[n, HY], 0.0)
        gap_z = max(abs(oz) - placed[n, HZ], 0.0)
        near[n] = math.sqrt(gap_x * gap_x + gap_y * gap_y + gap_z * gap_z)
        origin[n, 0], origin[n, 1], origin[n, 2] = ox, oy, oz
        size = placed[n, HX] ** 2 + placed[n, HY] ** 2 + placed[n, HZ] ** 2
        origin[n, 3] = ox * ox + oy * oy + oz * oz - size
        q = count
        while q > 0 and near[found[q - 1]] > near[n]:
            found[q] = found[q - 1]
            q -= 1
        found[q] = n
        count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _return(
    n: int, t: float, eye: NDArray, d: NDArray, kind: NDArray, mat: NDArray, placed: NDArray, col: NDArray,
    street: NDArray, origin: NDArray,
) -> tuple[float, float, int]:  # fmt: skip
    """Reflectance, cosine of incidence and region of a hit."""
    if n == GROUND:
        r, g, b, region, _ = road(eye[0] + t * d[0], eye[1] + t * d[1], street, FOOT)
        return (r + g + b) / 3.0, -d[2], region
    cos, sin = placed[n, COS], placed[n, SIN]
    lx, ly = cos * d[0] + sin * d[1], cos * d[1] - sin * d[0]
    x, y, z = origin[n, 0] + t * lx, origin[n, 1] + t * ly, origin[n, 2] + t * d[2]
    nx, ny, nz = normal(kind[n], placed, n, x, y, z)
    r, g, b, region, _ = surface(mat[n], placed, n, col, street, x, y, z, nx, ny, nz, FOOT)
    return (r + g + b) / 3.0, abs(nx * lx + ny * ly + nz * d[2]), region


@njit(cache=True, nogil=True)
def _scan(
    origins: NDArray, directions: NDArray, poses: NDArray, reach: float, movers: NDArray, shape: NDArray,
    owner: NDArray, kind: NDArray, mat: NDArray, col: NDArray, street: NDArray, placed: NDArray,
    out: NDArray, hit: NDArray, regions: NDArray,
) -> None:  # fmt: skip
    """Cast all columns; out [C, B, 3] range, reflectance, cosine; hit [C, B] primitive, -2 for none."""
    near, origin = np.empty(placed.shape[0]), np.empty((placed.shape[0], 4))
    moved = np.empty((movers.shape[0], placed.shape[1]))
    for c in range(origins.shape[0]):
        place(shape[movers], owner[movers], poses[c], moved)
        for m in range(movers.shape[0]):
            placed[movers[m]] = moved[m]
        eye, ahead = origins[c], directions[c, 0]
        flat = math.hypot(ahead[0], ahead[1])
        items = _candidates(placed, eye, ahead[0] / flat, ahead[1] / flat, reach, near, origin)
        for b in range(directions.shape[1]):
            d = directions[c, b]
            n, t = trace(items, 0, items.shape[0], kind, placed, origin, near, eye[2], d[0], d[1], d[2])
            hit[c, b] = -2
            if n >= GROUND and t < reach:
                hit[c, b], out[c, b, 0] = n, t
                out[c, b, 1], out[c, b, 2], regions[c, b] = _return(
                    n, t, eye, d, kind, mat, placed, col, street, origin
                )


def cast_beams(world: World, beams: Beams) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """[C, B, 3] range, reflectance, cosine; [C, B] primitive (-1 road, -2 none); [C, B] region."""
    poses = world.tracks.at(beams.time)[0]
    moving = (np.ptp(poses, axis=0) > 0).any(axis=-1)
    movers = np.flatnonzero((world.owner >= 0) & moving[world.owner])
    shape = beams.direction.shape[:2]
    out = np.zeros((*shape, 3))
    hit, regions = np.empty(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    _scan(
        beams.origin, beams.direction, poses, beams.max_range, movers, world.shape, world.owner, world.kind, world.mat,
        world.col, world.street, world.placed(float(beams.time[0])), out, hit, regions,
    )  # fmt: skip
    return out, hit, regions


def _kept(world: World, out: NDArray, hit: NDArray, regions: NDArray, chance: NDArray) -> NDArray[np.bool_]:
    """Which hits come back: glass and far, dark, grazed surfaces often do not."""
    glass = (regions == GLASS) & (hit >= 0)
    strength = out[..., 1] * np.sqrt(out[..., 2]) * (90.0 / np.maximum(out[..., 0], 1.0)) ** 2
    likely = np.clip(strength / 0.06, 0.0, 1.0) * np.where(glass, 0.35, 1.0)
    return np.asarray((hit >= GROUND) & (out[..., 0] > 0.8) & (chance < likely))


def _semantics(world: World, hit: NDArray, regions: NDArray) -> NDArray[np.int64]:
    classes = np.where(hit >= 0, world.semantic[np.maximum(hit, 0)], models.ROAD)
    on_block = (hit >= 0) & (world.mat[np.maximum(hit, 0)] == M_BLOCK)
    classes[on_block & (regions == ground.GRASS)] = models.GROUND
    for region, name in (
        (PAINT, models.LANE_LINE),
        (STOP_LINE, models.STOP_LINE),
        (ground.CROSSWALK, models.CROSSWALK),
    ):
        classes[(hit == GROUND) & (regions == region)] = name
    return np.asarray(classes, dtype=np.int64)


def rigid_velocity(
    world: World, actor: NDArray[np.int32], time: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[P, 3] velocity of points fixed to their actors, m/s; zero for actor -1."""
    velocity = np.zeros_like(points)
    mine = np.flatnonzero(actor >= 0)
    when, index = np.unique(time[mine], return_inverse=True)
    pose, rate = world.tracks.at(when)
    pose, rate = pose[index, actor[mine]], rate[index, actor[mine]]
    arm = points[mine] - pose[:, :3]
    velocity[mine] = rate[:, :3]
    velocity[mine, 0] -= rate[:, 3] * arm[:, 1]
    velocity[mine, 1] += rate[:, 3] * arm[:, 0]
    return velocity


def scan(world: World, beams: Beams, rng: Generator, config: SynthConfig) -> Returns:
    """The points of one sensor's sweep, with range noise and lost returns."""
    out, hit, regions = cast_beams(world, beams)
    kept = _kept(world, out, hit, regions, rng.random(hit.shape))
    noise = config.range_noise * np.clip(rng.standard_normal(hit.shape), -3.0, 3.0)
    column = np.nonzero(kept)[0]
    distance = (out[..., 0] + noise)[kept]
    points = beams.origin[column] + distance[:, None] * beams.direction[kept]
    who, time = hit[kept], beams.time[column]
    actor = np.where(who >= 0, world.owner[np.maximum(who, 0)], -1).astype(np.int32)
    bright = np.where(np.isin(regions[kept], (TRIM, LAMP)) & (actor >= 0), 2.0, 1.0)
    bright *= np.where(regions[kept] == DARK, 0.7, 1.0) * np.where(world.mat[np.maximum(who, 0)] == M_LEAVES, 1.4, 1.0)
    intensity = np.clip(np.rint(150.0 * out[..., 1][kept] * np.sqrt(out[..., 2][kept]) * bright), 0.0, 255.0)
    return Returns(
        points, intensity, time, rigid_velocity(world, actor, time, points), actor,
        _semantics(world, who, regions[kept]), beams.origin[column],
    )  # fmt: skip


def sweep(world: World, config: SynthConfig, stamp: float, seeds: tuple[int, ...]) -> tuple[Returns, Returns]:
    """The spinning and the forward LiDAR's points for the sweep that ends at `stamp` (s)."""
    sensors = (spinning_beams(world, config.spinning, stamp), forward_beams(world, config.forward, stamp))
    first, second = (
        scan(world, beams, np.random.default_rng(np.random.SeedSequence([*seeds, d])), config)
        for d, beams in enumerate(sensors)
    )
    return first, second
