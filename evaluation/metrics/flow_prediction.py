"""Scene flow that a reconstruction predicts for the LiDAR points of its clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from evaluation.metrics.flow import FlowAccumulator
from evaluation.metrics.point_set import FlowTruth
from flux4d.gaussians import Gaussians
from flux4d.lifetime import is_there
from flux4d.motion import move, velocity_at
from store_schema.clip import Clip

_SLICE_S = 0.01
"""Gaussians are moved to the middles of slices of time this long: at 30 m/s within 0.15 m of where they are."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictedFlow:
    """Flow at the scored points of a clip; the M rows of its `FlowTruth`."""

    flow: NDArray[np.float64]  # [M, 3] m over the pair of sweeps
    nearest: int
    """Points without a Gaussian of their own, which took the velocity of the nearest one: of their frame, or in a scene
    that was not made from points, of all that are there at the point's time."""


def predicted_flow(gaussians: Gaussians, clip: Clip, truth: FlowTruth) -> PredictedFlow:
    """Flow of the scored points: the velocity of the point's own Gaussian at the point's time, times dt.

    A point that was left out of the reconstruction (subset, crop) takes the velocity of the nearest
    Gaussian made from a point of the same frame. In a scene of which no Gaussian was made from a point (it comes from
    elsewhere), every point takes the velocity of the Gaussian that is nearest at its time; background is none.

    Raises:
        ValueError: a frame has points to score but no Gaussian, or a Gaussian's source is not a row of the clip.
    """
    rows = truth.row
    frame = clip.points.frame[rows]
    source = gaussians.source.cpu().numpy()
    if len(source) and source.max() >= len(clip.points):
        raise ValueError(f"Gaussian source {source.max()} is not a point of clip {clip.record.clip_id}")
    lifted = np.flatnonzero(source >= 0)
    if not len(lifted) and len(rows):
        velocity = _nearest_velocity(gaussians, clip.points.means[rows], clip.points.times[rows])
        return PredictedFlow(velocity * truth.dt[:, None], len(rows))
    # A Gaussian keeps its point's time, so its velocity there is its velocity at the point's own time.
    velocity = velocity_at(gaussians, gaussians.times).detach().cpu().numpy().astype(np.float64)
    own = np.full(len(clip.points), -1, np.int64)
    own[source[lifted]] = lifted
    chosen = own[rows]
    missing = np.flatnonzero(chosen < 0)
    for number in np.unique(frame[missing]):
        wanted = missing[frame[missing] == number]
        candidates = lifted[clip.points.frame[source[lifted]] == number]
        if not len(candidates):
            raise ValueError(
                f"clip {clip.record.clip_id}, frame {number}: {len(wanted)} points to score but no Gaussian of that "
                "frame; reconstruct from every input frame"
            )
        tree = cKDTree(clip.points.means[source[candidates]])
        chosen[wanted] = candidates[tree.query(clip.points.means[rows[wanted]])[1]]
    return PredictedFlow(velocity[chosen] * truth.dt[:, None], len(missing))


def _nearest_velocity(
    gaussians: Gaussians,
    points: NDArray[np.float32],  # [M, 3] m
    times: NDArray[np.float32],  # [M] s
) -> NDArray[np.float64]:
    """Velocity [M, 3] m/s, at each point's time, of the solid Gaussian whose centre is then nearest to it."""
    solid = gaussians.select(~gaussians.is_sky)
    slices = np.floor(times.astype(np.float64) / _SLICE_S).astype(np.int64)
    velocity = np.empty((len(points), 3))
    for number in np.unique(slices):
        of = np.flatnonzero(slices == number)
        middle = (number + 0.5) * _SLICE_S
        there = solid.select(is_there(solid, middle))
        if not len(there):
            raise ValueError(
                f"no Gaussian but background is there at {middle:.2f} s, where {len(of)} points are scored: the scene "
                "must hold the times of the input frames"
            )
        nearest = torch.from_numpy(cKDTree(move(there, middle).cpu().numpy()).query(points[of])[1])
        found = there.select(nearest.to(there.means.device))
        moving = velocity_at(found, torch.from_numpy(times[of]).to(found.times))
        velocity[of] = moving.detach().cpu().numpy()
    return velocity


def accumulate_flow(flow: NDArray[np.floating], truth: FlowTruth) -> FlowAccumulator:
    """Accumulator of one clip's flow errors; `flow` [M, 3] m is the prediction for the points of `truth`."""
    accumulator = FlowAccumulator()
    accumulator.add(flow, truth.flow, truth.flow_class, truth.bucket, truth.dt)
    return accumulator
