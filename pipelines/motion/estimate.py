"""The motion of every return of a log, sweep after sweep, each from the sweeps around it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.motion import agreement, candidates, handover
from pipelines.motion.agreement import MOVES, RESTS, UNKNOWN, ClusterMotion
from pipelines.motion.candidates import FreeReturns, Prepared, map_extent
from pipelines.motion.config import MotionConfig
from pipelines.motion.maps import label_map, look_up
from pipelines.motion.search import cluster_motion
from pipelines.motion.sweeps import MotionSweep, SweepMotion

NAMES_PER_SWEEP = 1 << 14
"""Objects that may begin in one sweep: their numbers are the sweep's times this and up."""

Stage = TypeVar("Stage")


def estimate_motion(sweeps: Sequence[MotionSweep], config: MotionConfig | None = None) -> tuple[SweepMotion, ...]:
    """Velocities, confidences and objects of all returns of consecutive sweeps of one log.

    What a sweep's returns are said to do depends on the sweeps up to `config.reach` before and after it only; the
    numbers of the objects count from the first sweep.

    Args:
        sweeps: in the order of time, without gaps.
        config: constants; the defaults when None.

    Raises:
        ValueError: stamps do not rise.
    """
    estimator = MotionEstimator(lambda frame: sweeps[frame], len(sweeps), config)
    if any(after.time <= before.time for before, after in pairwise(sweeps)):
        raise ValueError("the stamps of the sweeps must rise: sort the sweeps by time and pass each once")
    motions: list[SweepMotion] = []
    names = np.zeros(0, np.int32)
    for frame in range(len(sweeps)):
        motion, before = estimator.motion(frame)
        fresh = np.arange(len(before), dtype=np.int32) + frame * NAMES_PER_SWEEP
        names = np.where(before >= 0, names[before] if len(names) else -1, fresh).astype(np.int32)
        cluster = np.append(names, -1)[motion.cluster].astype(np.int32)
        motions.append(SweepMotion(motion.velocity, motion.confidence, cluster, motion.ground, motion.static))
        estimator.forget(frame - 2)
    return tuple(motions)


class MotionEstimator:
    """Motion of single sweeps of a log. Parts that neighbouring sweeps share are kept, and never change an answer."""

    def __init__(self, read: Callable[[int], MotionSweep], count: int, config: MotionConfig | None = None) -> None:
        """`read` gives the sweeps 0..count-1 of one log by number."""
        self._read, self._count, self._config = read, count, config or MotionConfig()
        self._kept: dict[tuple[str, int], object] = {}
        self._sweeps: dict[int, MotionSweep] = {}

    def motion(self, frame: int) -> tuple[SweepMotion, NDArray[np.int32]]:
        """Motion of one sweep, its clusters numbered from 0, and which cluster of the sweep before each one was.

        Returns:
            The motion, and [C] numbers of the sweep before, -1 where a cluster is new.
        """
        return self._spread(frame), self._before(frame)

    def forget(self, frame: int) -> None:
        """Drop what is kept of sweeps before `frame`. It would be made again if it were needed."""
        for key in [key for key in self._kept if key[1] < frame]:
            del self._kept[key]

    def _once(self, name: str, frame: int, make: Callable[[int], Stage]) -> Stage:
        if (name, frame) not in self._kept:
            self._kept[name, frame] = make(frame)
        return cast(Stage, self._kept[name, frame])

    def _sweep(self, frame: int) -> MotionSweep:
        """A sweep; only the last two are kept, which is what going from frame to frame asks for."""
        if frame not in self._sweeps:
            last = dict(list(self._sweeps.items())[-1:])
            self._sweeps = last | {frame: self._read(frame)}
        return self._sweeps[frame]

    def _near(self, frame: int, offsets: Sequence[int]) -> list[int]:
        return [frame + offset for offset in offsets if 0 <= frame + offset < self._count]

    def _prepared(self, frame: int) -> Prepared:
        def make(frame: int) -> Prepared:
            beside = frame - 1 if frame else min(1, self._count - 1)
            return candidates.prepare(self._sweep(frame), self._sweep(beside), self._config)

        return self._once("prepared", frame, make)

    def height(self, frame: int) -> NDArray[np.float32]:
        """Height of each return over the ground, [P] m."""

        def make(frame: int) -> NDArray[np.float32]:
            near = [self._prepared(one) for one in self._near(frame, self._config.ground_offsets)]
            return candidates.height_over_ground(self._prepared(frame), near, self._config)

        return self._once("height", frame, make)

    def _free(self, frame: int) -> FreeReturns:
        def make(frame: int) -> FreeReturns:
            others = [self._prepared(one) for one in self._near(frame, self._config.persistence_offsets)]
            return candidates.free_returns(self._prepared(frame), self.height(frame), others, self._config)

        return self._once("free", frame, make)

    def _labels(self, frame: int) -> NDArray[np.int32]:
        def make(frame: int) -> NDArray[np.int32]:
            free, cell = self._free(frame), self._config.agree_cell
            return label_map(free.points, free.cluster, free.corner, cell, int(map_extent(self._config) / cell))

        return self._once("labels", frame, make)

    def _found(self, frame: int) -> ClusterMotion:
        def make(frame: int) -> ClusterMotion:
            hops = sorted(self._near(frame, self._config.hops), key=lambda one: (abs(one - frame), one))
            around = [self._free(one) for one in hops]
            lags = [self._prepared(one).columns[3:] for one in (frame, *hops[:2])]
            return cluster_motion(self._free(frame), around, lags, self._config)

        return self._once("found", frame, make)

    def _met(self, frame: int, other: int, found: ClusterMotion) -> NDArray[np.int32]:
        """Clusters of another sweep that the free returns of this one meet when carried there, [Q]."""
        free, there = self._free(frame), self._free(other)
        moves = found.state[free.cluster] == MOVES
        velocity = point_velocities(free, found) * moves[:, None]
        carried = free.points[:, :2] + velocity * (there.time - free.time)
        return look_up(carried, there.corner, self._config.agree_cell, self._labels(other))

    def _agreed(self, frame: int) -> ClusterMotion:
        """Clusters after agreement: movers that meet nothing that moves alike become unknown."""

        def make(frame: int) -> ClusterMotion:
            config, free, found = self._config, self._free(frame), self._found(frame)
            asked, agreed = np.zeros(free.count, np.int64), np.zeros(free.count, np.int64)
            for other in self._near(frame, config.agree_hops):
                there = self._found(other)
                agreement.count_agreement(
                    free.cluster, self._met(frame, other, found), found.velocity, there.velocity, there.state,
                    config.agree_speed, config.agree_ratio, asked, agreed,
                )  # fmt: skip
            state = found.state.copy()
            state[(state == MOVES) & (agreed < config.agree_share * asked)] = UNKNOWN
            share = agreed / np.maximum(asked, 1)
            return ClusterMotion(state, found.velocity, found.turn, found.centre, found.cost, share)

        return self._once("agreed", frame, make)

    def _before(self, frame: int) -> NDArray[np.int32]:
        """Which cluster of the sweep before each cluster was, [C], -1 none: they meet each other when carried."""
        here = self._free(frame)
        if frame == 0:
            return np.full(here.count, -1, np.int32)
        there = self._free(frame - 1)
        back = agreement.most_met(here.cluster, self._met(frame, frame - 1, self._agreed(frame)), here.count)
        met = self._met(frame - 1, frame, self._agreed(frame - 1))
        return agreement.mutual(agreement.most_met(there.cluster, met, there.count), back)

    def _spread(self, frame: int) -> SweepMotion:
        """From clusters to all returns of the sweep."""
        config, now, height, free = self._config, self._prepared(frame), self.height(frame), self._free(frame)
        agreed = self._agreed(frame)
        state = agreed.state[free.cluster]
        planar = point_velocities(free, agreed) * (state == MOVES)[:, None]
        sure = _confidence(agreed)[free.cluster]
        filled, mean = self._filled(frame)
        filled &= state == UNKNOWN
        planar[filled], state[filled], sure[filled] = mean[filled], MOVES, 0.5
        count = len(now.points)
        ground = now.use & (height <= config.low)
        velocity, confidence = np.zeros((count, 3), np.float32), ground.astype(np.float32)
        cluster, moves = np.full(count, -1, np.int32), np.zeros(count, np.bool_)
        confidence[free.judged_row] = free.rest_share
        confidence[free.row], cluster[free.row], moves[free.row] = sure, free.cluster, state == MOVES
        velocity[free.row, :2] = planar
        movers = np.flatnonzero(state == MOVES)
        if len(movers):
            rows, source = self._handed(now, height, free, movers, planar)
            velocity[rows, :2], moves[rows] = planar[source], True
            confidence[rows] = config.handed * sure[source]
            cluster[rows], ground[rows] = free.cluster[source], False
        return SweepMotion(velocity, confidence, cluster, ground, (confidence > 0) & ~moves)

    def _filled(self, frame: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Free returns onto which movers of other sweeps are carried [Q], and the mean of their velocities [Q, 2]."""
        config, free = self._config, self._free(frame)
        near = self._near(frame, config.agree_hops)
        votes, voted = np.zeros((len(near), len(free.row), 2)), np.zeros((len(near), len(free.row)), np.bool_)
        for number, other in enumerate(near):
            there, agreed = self._free(other), self._agreed(other)
            rows = np.flatnonzero(agreed.state[there.cluster] == MOVES)
            velocity = point_velocities(there, agreed)[rows]
            carried = there.points[rows, :2] + velocity * (free.time - there.time)
            cell = config.fill_cell
            grid = label_map(carried, there.cluster[rows], free.corner, cell, int(map_extent(config) / cell))
            met = look_up(free.points, free.corner, cell, grid)
            voted[number] = met >= 0
            votes[number, voted[number]] = agreed.velocity[met[voted[number]]]
        return handover.mean_of_votes(votes, voted, config.fill_spread)

    def _handed(
        self,
        now: Prepared,
        height: NDArray[np.float32],
        free: FreeReturns,
        movers: NDArray[np.int64],
        planar: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the sweep that take a mover's velocity, and the free return that they take it from."""
        config, extent = self._config, map_extent(self._config)
        free_rows = np.zeros(len(now.points), np.bool_)
        free_rows[free.row] = True
        spinning = now.use & (now.sensor == 0) & ~free_rows & (height > config.foot) & (height <= config.low)
        low = np.flatnonzero(spinning)
        forward = np.flatnonzero(now.use & (now.sensor == 1) & (height > config.foot) & (height < config.high))
        points = np.ascontiguousarray(free.points[movers])
        own = handover.claimed_low(
            points, free.cluster[movers], planar[movers], now.points[low], height[low], free.corner, extent, config
        )
        times = now.times[free.row[movers]]
        other = handover.claimed_forward(
            points, planar[movers], times, now.points[forward], now.times[forward], free.corner, extent, config
        )
        rows, source = np.concatenate([low, forward]), np.concatenate([own, other])
        return rows[source >= 0], movers[source[source >= 0]]


def point_velocities(free: FreeReturns, motion: ClusterMotion) -> NDArray[np.float64]:
    """Velocity of each free return by its cluster's, [Q, 2] m/s, whatever the cluster's state."""
    return agreement.point_velocity(free.points, free.cluster, motion.velocity, motion.turn, motion.centre)


def _confidence(agreed: ClusterMotion) -> NDArray[np.float32]:
    """Of each cluster, [C]: for movers the agreement times what the velocity explains; for rest what rest does."""
    rest, best = agreed.cost.T
    moving = np.maximum(agreed.agreement * (1.0 - best / np.maximum(rest, 1e-3)), 0.05)
    sure = np.where(agreed.state == RESTS, np.clip(1.0 - rest / 0.4, 0.05, 1.0), 0.0)
    return np.where(agreed.state == MOVES, moving, sure).astype(np.float32)
