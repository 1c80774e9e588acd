"""Which LiDAR points scene flow is scored on, and which annotation is their true motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from store_schema.clip import Clip
from store_schema.labels import DYNAMIC_THRESHOLD_M, FlowClass

_SENSORS = {"spinning": (0,), "forward": (1,), "all": (0, 1)}
_LIDARS = {"spinning": "of the spinning LiDAR", "forward": "of the forward LiDAR", "all": "of both LiDARs"}
_VIEWS = {"camera": "inside the camera's view", "everywhere": "inside and outside the camera's view"}
_TRUTHS = {"annotated": "", "smoothed": ", true motion along the smoothed tracks"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PointSet:
    """Choice of points and of their truth. The default, P0, is what the protocol scores: nothing is cut away for
    being ground, and points whose true motion is unknown (class IGNORED) never count.
    """

    lidar: Literal["spinning", "forward", "all"] = "spinning"
    """LiDAR whose points are scored. The forward one is not synchronised with the sweeps: its truth is rougher."""
    view: Literal["camera", "everywhere"] = "camera"
    """Only points inside the camera's view, or all around the ego. The scene is then lifted from all points, not
    only from those that the views see: it takes more memory, and the image scores change a little too."""
    within_m: float | None = None
    """Only points with abs(x) and abs(y) below this, metres, in the ego frame of the point's own sweep; None keeps
    all. 35 is the usual cut. BucketedSceneFlowEval takes the ego frame of the next sweep, Argoverse 2 this one."""
    truth: Literal["annotated", "smoothed"] = "annotated"
    """True motion from the cuboids as annotated, or from their tracks smoothed over time."""

    def __post_init__(self) -> None:
        for name, known in (("lidar", _LIDARS), ("view", _VIEWS), ("truth", _TRUTHS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.within_m is not None and not 0 < self.within_m < math.inf:
            raise ValueError(
                f"within_m must be a positive number of metres, got {self.within_m}: use for instance 35, or leave it "
                "out to keep all points"
            )

    @property
    def in_words(self) -> str:
        """What is scored, to follow "the input frames'"."""
        near = "" if self.within_m is None else f", |x| and |y| below {self.within_m:g} m from the ego"
        return f"points {_LIDARS[self.lidar]} {_VIEWS[self.view]}{near}{_TRUTHS[self.truth]}"

    def scored_points(self, clip: Clip) -> NDArray[np.int64]:
        """Rows of `clip.points` in the set, ascending."""
        points = clip.points
        keep = np.isin(points.sensor, _SENSORS[self.lidar]) & (points.flow_class != FlowClass.IGNORED)
        if self.view == "camera":
            keep &= points.in_view
        if self.within_m is not None:
            keep &= _distance(clip) < self.within_m
        return np.flatnonzero(keep)


P0 = PointSet()
"""The protocol's point set."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowTruth:
    """True motion of the scored points of a clip; M rows."""

    row: NDArray[np.int64]  # [M] row in Clip.points, ascending
    flow: NDArray[np.float32]  # [M, 3] m to the next sweep
    flow_class: NDArray[np.uint8]  # [M] FlowClass
    bucket: NDArray[np.uint8]  # [M] Bucket
    dt: NDArray[np.float64]  # [M] s, from the frame's sweep stamp to the next
    other_flow: NDArray[np.float32] | None  # [M, 3] m by the other reading of the cuboids; None when not stored
    without_next_sweep: int
    """Points left out because the clip holds no stamp after their frame."""


def flow_truth(clip: Clip, points: PointSet = P0) -> FlowTruth:
    """Truth of the points to score.

    With `truth="smoothed"` foreground is dynamic when its smoothed motion reaches 0.05 m; background and the points
    that are ignored stay what they were.

    Raises:
        ValueError: smoothed motion is asked for and the clip has points to score but no smoothed motion.
    """
    rows = points.scored_points(clip)
    has_next = clip.points.frame[rows] + 1 < len(clip.sweep_times)
    without = int((~has_next).sum())
    rows = rows[has_next]
    frame = clip.points.frame[rows].astype(np.int64)
    smooth = clip.points.smooth_flow
    flow, classes = clip.points.flow[rows], clip.points.flow_class[rows]
    other = None if smooth is None else smooth[rows]
    if points.truth == "smoothed":
        if other is None and len(rows):
            raise ValueError(
                f"clip {clip.record.clip_id} has no motion along smoothed tracks: its store was built before that was "
                "stored; build it again with flux4d-build, or score with --truth annotated"
            )
        flow, other = flow if other is None else other, flow
        classes = _classes(flow, classes)
    return FlowTruth(
        row=rows,
        flow=flow,
        flow_class=classes,
        bucket=clip.points.bucket[rows],
        dt=clip.sweep_times[frame + 1] - clip.sweep_times[frame],
        other_flow=other,
        without_next_sweep=without,
    )


def _classes(flow: NDArray[np.float32], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    dynamic = np.linalg.norm(flow.astype(np.float64), axis=1) >= DYNAMIC_THRESHOLD_M
    foreground = np.where(dynamic, FlowClass.FOREGROUND_DYNAMIC, FlowClass.FOREGROUND_STATIC).astype(np.uint8)
    return np.where(classes == FlowClass.BACKGROUND_STATIC, classes, foreground)


def _distance(clip: Clip) -> NDArray[np.float64]:
    """L-infinity distance in the ground plane of each point to the ego of its own sweep, [N] m."""
    points = clip.points
    distance = np.empty(len(points))
    for frame in np.unique(points.frame):
        rows = np.flatnonzero(points.frame == frame)
        ego02ego = np.linalg.inv(clip.ego2ego0[frame])
        local = points.means[rows].astype(np.float64) @ ego02ego[:2, :3].T + ego02ego[:2, 3]
        distance[rows] = np.abs(local).max(axis=1)
    return distance
