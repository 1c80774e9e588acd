"""Counts of a frame: points, flow classes and depth, for the JSON line and the page's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.features.nearer_in_cell import behind_in_cell
from pipelines.inspect.gather import InspectedFrame, InspectedView
from store_schema.labels import Bucket, FlowClass

FRONT = "front_camera"
"""The camera of the evaluation, whose view P0 is cut to."""
NUMBERS = (
    *("BS", "FS", "FD", "ignored", "flow_mean_m", "flow_max_m"),
    *("depth_count", "depth_sum_m", "depth_visible_count", "depth_visible_sum_m"),
)
"""Keys of the numbers in the JSON line, in its order."""


@dataclass(frozen=True, slots=True)
class FlowRow:
    """Points of one group by flow class, and the motion of those whose motion is known."""

    points: int
    by_class: Mapping[FlowClass, int]
    mean_m: float | None  # of BACKGROUND_STATIC, FOREGROUND_STATIC and FOREGROUND_DYNAMIC points
    max_m: float | None


@dataclass(frozen=True, slots=True)
class ColourRow:
    """How the points that one camera coloured look."""

    coloured: int  # points whose colour is this camera's
    behind: int  # of these, with a return more than 5 % + 0.5 m nearer in their 8x8 px cell of that camera
    shared: int  # points this camera sees whose colour is another's
    difference: float | None  # median over the shared points of |colour - this image's pixel|, mean of the channels


def front_numbers(frame: InspectedFrame) -> dict[str, int | float | None]:
    """The numbers of the JSON line, by their keys there.

    P0 are the points of the spinning LiDAR that project into the front camera. What cannot be said is None: all of
    it without a front camera or without LiDAR; classes and flow without cuboids; BS, FS, FD and the flow without a
    next frame, where every point of P0 counts as ignored.
    """
    view = frame.view(FRONT)
    flow = None if view is None or not frame.has_lidar else flow_row(frame, front_points(frame, view))
    numbers: dict[str, int | float | None] = dict.fromkeys(NUMBERS)
    if flow is not None:
        numbers |= {"ignored": flow.by_class[FlowClass.IGNORED]}
    if flow is not None and frame.flow is not None:
        numbers |= {
            "BS": flow.by_class[FlowClass.BACKGROUND_STATIC],
            "FS": flow.by_class[FlowClass.FOREGROUND_STATIC],
            "FD": flow.by_class[FlowClass.FOREGROUND_DYNAMIC],
            "flow_mean_m": flow.mean_m,
            "flow_max_m": flow.max_m,
        }
    if view is not None and frame.has_lidar:
        depth, seen = view.depth.depth, view.depth.visible
        numbers |= {
            "depth_count": len(depth),
            "depth_sum_m": math.fsum(depth.tolist()),
            "depth_visible_count": int(seen.sum()),
            "depth_visible_sum_m": math.fsum(depth[seen].tolist()),
        }
    return numbers


def front_points(frame: InspectedFrame, view: InspectedView) -> NDArray[np.int64]:
    """Rows of the spinning LiDAR's points in a camera's image: P0 for the front camera."""
    rows = view.sighting.projection.rows
    spinning: NDArray[np.int64] = rows[frame.sweep.sensor[rows] == 0]
    return spinning


def flow_row(frame: InspectedFrame, rows: NDArray[np.int64]) -> FlowRow | None:
    """Flow of some points; None in a log without cuboids."""
    if frame.boxes is None:
        return None
    if frame.flow is None:
        counts = dict.fromkeys(FlowClass, 0) | {FlowClass.IGNORED: len(rows)}
        return FlowRow(len(rows), counts, None, None)
    kinds = frame.flow.flow_class[rows]
    counts = {kind: int((kinds == kind).sum()) for kind in FlowClass}
    x, y, z = frame.flow.flow[rows[kinds != FlowClass.IGNORED]].T
    motion = np.sqrt(x * x + y * y + z * z).tolist()
    mean = math.fsum(motion) / len(motion) if motion else None
    return FlowRow(len(rows), counts, mean, max(motion, default=None))


def bucket_rows(frame: InspectedFrame, rows: NDArray[np.int64]) -> dict[str, FlowRow]:
    """Flow of some points by bucket class; empty without scene flow."""
    if frame.flow is None:
        return {}
    bucket = frame.flow.bucket[rows]
    held = {kind.name: flow_row(frame, rows[bucket == kind]) for kind in Bucket}
    return {name: row for name, row in held.items() if row is not None and row.points}


def colour_row(frame: InspectedFrame, index: int) -> ColourRow:
    """What is to be said of the colours of one camera.

    Args:
        frame: the frame.
        index: the camera's place among `frame.views`.
    """
    view = frame.views[index]
    seen, colours = view.sighting.projection, frame.colours
    own = colours.camera[seen.rows] == index
    behind = behind_in_cell(seen, view.sighting.width)
    shared = view.sighting.visible & (colours.camera[seen.rows] >= 0) & ~own
    u, v = np.floor(seen.uv[shared]).astype(np.int64).T
    pixel = view.image[v, u].astype(np.int64)
    apart = np.abs(pixel - colours.rgb[seen.rows[shared]]).mean(axis=1)
    difference = float(np.median(apart)) if len(apart) else None
    return ColourRow(int(own.sum()), int((own & behind).sum()), int(shared.sum()), difference)
