"""Free returns: those that rest does not explain, in clusters, with what the other sweeps saw at their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.motion import ground, rays, voxels
from pipelines.motion.clusters import connected
from pipelines.motion.config import MotionConfig
from pipelines.motion.maps import distance_map, distance_stencil
from pipelines.motion.sweeps import MotionSweep

GROUND_SIDE = 256
"""Cells of the ground grid along an axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One sweep made ready to be asked by others; P returns."""

    time: float  # s
    points: NDArray[np.float64]  # [P, 3] m, on a grid of millimetres: no verdict hangs on a last bit
    times: NDArray[np.float64]  # [P] s
    sensor: NDArray[np.uint8]  # [P]
    away: NDArray[np.float32]  # [P] m from the ego, horizontal
    use: NDArray[np.bool_]  # [P] neither too far nor the ego's own
    low: NDArray[np.float32]  # [N, N] m, lowest return of each ground cell
    corner: NDArray[np.int64]  # [2] its first cell
    ego: NDArray[np.float64]  # [3] m
    voxel_keys: NDArray[np.int64]  # cells with a return of the spinning LiDAR
    columns: tuple[NDArray, ...]  # of `rays.sort_returns`


@dataclass(frozen=True, slots=True, eq=False)
class FreeReturns:
    """Free returns of the spinning LiDAR in one sweep, sorted by position; Q rows, C clusters."""

    time: float  # s
    row: NDArray[np.int64]  # [Q] in the sweep
    points: NDArray[np.float64]  # [Q, 3] m
    cluster: NDArray[np.int32]  # [Q]
    order: NDArray[np.int64]  # [Q] rows cluster after cluster
    start: NDArray[np.int64]  # [C + 1] in `order`
    met: NDArray[np.int64]  # [C] times that a place of the cluster was seen filled
    clear: NDArray[np.int64]  # [C] times that one was seen empty
    corner: NDArray[np.float64]  # [2] m, of the maps
    distance: NDArray[np.uint8]  # [S, S] of `maps.distance_map`
    judged_row: NDArray[np.int64]  # [J] rows of the sweep that rest was asked about
    rest_share: NDArray[np.float32]  # [J] share of the sweeps that can tell which say rest; 0 where none can

    @property
    def count(self) -> int:
        """Clusters."""
        return len(self.start) - 1


def prepare(sweep: MotionSweep, neighbour: MotionSweep | None, config: MotionConfig) -> Prepared:
    """What one sweep, and the ego's way to a neighbouring one, say alone."""
    points = np.floor(sweep.points * 1000.0 + 0.5) / 1000.0
    ego = sweep.ego2world[:3, 3]
    x, y = points[:, 0] - ego[0], points[:, 1] - ego[1]
    away = np.sqrt(x * x + y * y).astype(np.float32)
    use = (away > config.own_radius) & (away < config.far)
    corner = np.floor(ego[:2] / config.ground_cell).astype(np.int64) - GROUND_SIDE // 2
    low = ground.lowest(points, use, corner, config.ground_cell, GROUND_SIDE)
    spinning = use & (sweep.sensor == 0)
    keys = voxels.voxel_keys(points, spinning, away, np.array(config.voxels), np.array(config.voxel_ranges), 8.0)
    rate = np.zeros(3)
    if neighbour is not None and neighbour.time != sweep.time:
        rate = (neighbour.ego2world[:3, 3] - ego) / (neighbour.time - sweep.time)
    origin = ego + sweep.ego2world[:3, 2] * config.lidar_height
    columns = rays.sort_returns(points, sweep.times, spinning, origin, rate, sweep.time, config.columns)
    return Prepared(
        sweep.time, points, sweep.times, sweep.sensor, away, use, low, corner, ego, np.unique(keys), columns
    )


def height_over_ground(now: Prepared, near: Sequence[Prepared], config: MotionConfig) -> NDArray[np.float32]:
    """Height of each return of `now` over the ground that the sweeps `near` saw together, [P] m."""
    shifts = np.stack([now.corner - one.corner for one in near])
    low = ground.second_lowest(np.stack([one.low for one in near]), shifts)
    low = ground.drop_pits(low, config.pit_depth)
    low = ground.lower_envelope(low, config.ground_slope * config.ground_cell, config.ground_reach)
    return ground.heights(now.points, now.corner, config.ground_cell, low)


def free_returns(
    now: Prepared, height: NDArray[np.float32], others: Sequence[Prepared], config: MotionConfig
) -> FreeReturns:
    """Returns above the ground that the `others` do not explain by rest, and their clusters."""
    judged = np.flatnonzero(now.use & (height > config.low) & (height < config.high) & (now.sensor == 0))
    judged = judged[np.lexsort((now.times[judged], *now.points[judged].T[::-1]))]
    points = np.ascontiguousarray(now.points[judged])
    near, met, clear = _evidence(points, now.away[judged], others, config)
    rest = met | (near & ~clear)  # a ray past a place is more exact than a return beside it
    share = _bits(rest) / np.maximum(_bits(rest | clear), 1)
    free = (share < config.persistent_share) & (_bits(clear) >= config.clear_sweeps)
    # Nor does rest explain what most sweeps have nothing near of, even if none could look past the place.
    free |= _bits(near) < config.persistent_share * len(others)
    level = np.searchsorted(np.array(config.cluster_ranges), now.away[judged], side="right")
    cells = np.array(config.cluster_cells)
    free |= _whole_objects(points, level, cells, free, config)
    keep = np.flatnonzero(free)
    kept = np.ascontiguousarray(points[keep])
    cluster, count = connected(kept, level[keep], cells, voxels.empty_table(len(kept))[0])
    order = np.argsort(cluster, kind="stable")
    start = np.searchsorted(cluster[order], np.arange(count + 1))
    corner = np.floor(now.ego[:2]) - (config.far + 4.0)
    stencil = distance_stencil(config.cell, config.cap)
    side = int(map_extent(config) / config.cell)
    return FreeReturns(
        now.time, judged[keep], kept, cluster, order, start,
        _sums(cluster, _bits(met[keep]), count), _sums(cluster, _bits(clear[keep]), count),
        corner, distance_map(kept, corner, config.cell, stencil, side), judged, share.astype(np.float32),
    )  # fmt: skip


def map_extent(config: MotionConfig) -> float:
    """Side of the maps about the ego, m."""
    return 2.0 * (config.far + 4.0)


def _evidence(
    points: NDArray[np.float64],  # [J, 3]
    away: NDArray[np.float32],  # [J]
    others: Sequence[Prepared],
    config: MotionConfig,
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """One bit a sweep, [J] each: a return near the place, a surface through it, clear air past it."""
    sizes, ranges = np.array(config.voxels), np.array(config.voxel_ranges)
    table, masks = voxels.empty_table(sum(len(one.voxel_keys) for one in others))
    met, clear = np.zeros(len(points), np.uint32), np.zeros(len(points), np.uint32)
    for number, one in enumerate(others):
        voxels.insert_all(one.voxel_keys, np.uint32(1 << number), table, masks)
        starts, slopes, away_there, centre, _ = one.columns
        rays.evidence(
            points, starts, slopes, away_there, centre, config.ray_gap, config.ray_near, config.ray_wide,
            np.uint32(1 << number), met, clear,
        )  # fmt: skip
    return voxels.hits(points, away, sizes, ranges, table, masks), met, clear


def _whole_objects(
    points: NDArray[np.float64],  # [J, 3]
    level: NDArray[np.int64],  # [J]
    cells: NDArray[np.float64],
    free: NDArray[np.bool_],  # [J]
    config: MotionConfig,
) -> NDArray[np.bool_]:
    """Returns of small clusters of which rest does not explain enough, [J]."""
    cluster, count = connected(points, level, cells, voxels.empty_table(len(points))[0])
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, cluster, points[:, :2])
    np.maximum.at(high, cluster, points[:, :2])
    size, loose = np.bincount(cluster, minlength=count), np.bincount(cluster[free], minlength=count)
    whole = (size >= config.min_points) & (loose >= config.object_share * size)
    whole &= (high - low).max(axis=1, initial=0.0) < config.object_extent
    return np.asarray(whole[cluster])


def _bits(masks: NDArray[np.uint32]) -> NDArray[np.int64]:
    return np.bitwise_count(masks).astype(np.int64)


def _sums(cluster: NDArray[np.int32], values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    out = np.zeros(count, np.int64)
    np.add.at(out, cluster, values)
    return out
