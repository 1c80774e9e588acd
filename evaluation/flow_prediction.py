"""Scene flow that a reconstruction predicts for the LiDAR points of its clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from evaluation.flow_metrics import FlowAccumulator
from flux4d.gaussians import Gaussians
from flux4d.motion import velocity_at
from store_schema.clip import Clip
from store_schema.labels import FlowClass

SPINNING_LIDAR = 0
"""The 64-beam LiDAR the paper scores on."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictedFlow:
    """Flow at the scored points of a clip; M rows."""

    row: NDArray[np.int64]  # [M] row in Clip.points
    flow: NDArray[np.float64]  # [M, 3] m over the pair of sweeps
    dt: NDArray[np.float64]  # [M] s, from the frame's sweep stamp to the next
    nearest: int
    """Points without a Gaussian of their own, which took the velocity of the nearest one of their frame."""
    without_next_sweep: int
    """Points left out because the clip holds no stamp after their frame."""


def scored_points(clip: Clip) -> NDArray[np.int64]:
    """Rows of the point set the protocol scores: spinning LiDAR, in the camera's view, with ground truth."""
    points = clip.points
    keep = (points.sensor == SPINNING_LIDAR) & points.in_view & (points.flow_class != FlowClass.IGNORED)
    return np.flatnonzero(keep)


def predicted_flow(gaussians: Gaussians, clip: Clip) -> PredictedFlow:
    """Flow of the scored points: the velocity of the point's own Gaussian at the point's time, times dt.

    A point that was left out of the reconstruction (subset, crop) takes the velocity of the nearest
    Gaussian made from a point of the same frame.

    Raises:
        ValueError: a frame has points to score but no Gaussian, or a Gaussian's source is not a row of the clip.
    """
    rows = scored_points(clip)
    has_next = clip.points.frame[rows] + 1 < len(clip.sweep_times)
    without = int((~has_next).sum())
    rows = rows[has_next]
    frame = clip.points.frame[rows].astype(np.int64)

    source = gaussians.source.cpu().numpy()
    if len(source) and source.max() >= len(clip.points):
        raise ValueError(f"Gaussian source {source.max()} is not a point of clip {clip.record.clip_id}")
    lifted = np.flatnonzero(source >= 0)
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
    dt = clip.sweep_times[frame + 1] - clip.sweep_times[frame]
    return PredictedFlow(rows, velocity[chosen] * dt[:, None], dt, len(missing), without)


def accumulate_flow(predicted: PredictedFlow, clip: Clip) -> FlowAccumulator:
    """Accumulator of one clip's flow errors."""
    points, accumulator = clip.points, FlowAccumulator()
    rows = predicted.row
    accumulator.add(predicted.flow, points.flow[rows], points.flow_class[rows], points.bucket[rows], predicted.dt)
    return accumulator
