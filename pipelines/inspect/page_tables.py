"""The tables of a frame's page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.inspect.counts import FRONT, ColourRow, FlowRow, bucket_rows, flow_row, front_points
from pipelines.inspect.gather import InspectedFrame
from pipelines.inspect.timing import LIDARS
from store_schema.labels import FlowClass
from store_schema.pages.table import Table, plain_table
from store_schema.pages.values import ABSENT, number, share_text

_CLASSES = (
    FlowClass.BACKGROUND_STATIC,
    FlowClass.FOREGROUND_STATIC,
    FlowClass.FOREGROUND_DYNAMIC,
    FlowClass.IGNORED,
)
_BOXES_OF = {-1: "both LiDARs", 0: "spinning LiDAR only", 1: "forward LiDAR only"}


def moving_table(frame: InspectedFrame) -> Table | None:
    """The moving boxes, the fastest first; None where it is unknown what moves."""
    boxes = frame.boxes
    if boxes is None or boxes.moving is None or boxes.speed is None:
        return None
    rows = []
    for row in sorted(np.flatnonzero(boxes.moving), key=lambda row: -boxes.speed[row]):  # type: ignore[index]
        points = None if frame.flow is None else int((frame.flow.cuboid == row).sum())
        time = 1e3 * (boxes.times[row] - frame.sweep.time)
        cells = (boxes.cuboids.label[row], boxes.cuboids.track[row][:8], _BOXES_OF[int(boxes.cuboids.sensor[row])])
        rows.append((*cells, number(boxes.speed[row], 2), f"{time:+.1f}", number(points)))
    return plain_table(("label", "track", "box of", "m/s", "true at, ms", "points"), rows, left=3)


def flow_table(frame: InspectedFrame) -> Table:
    """Points by LiDAR, in the evaluation's view and there by bucket class: how many, and how they move."""
    sweep, view = frame.sweep, frame.view(FRONT)
    groups = {name: np.flatnonzero(sweep.sensor == place) for place, (name, _) in LIDARS.items()}
    rows = [_flow_cells(name, frame, flow_row(frame, held), len(held)) for name, held in groups.items()]
    if view is not None:
        chosen = front_points(frame, view)
        rows.append(_flow_cells("P0: spinning, in front_camera", frame, flow_row(frame, chosen), len(chosen)))
        rows += [_flow_cells(f"P0, {name}", frame, row, row.points) for name, row in bucket_rows(frame, chosen).items()]
    else:
        rows.append(("P0: spinning, in front_camera", *[ABSENT] * 7))
    heads = ("points of", "points", "BS", "FS", "FD", "ignored", "mean flow, m", "largest, m")
    note = (
        "Flow is the motion to the next sweep without that of the ego; mean and largest are of BS, FS and FD points. "
        "P0 is the point set of the evaluation."
    )
    return plain_table(heads, rows, title="Points and flow", notes=(note,))


def _flow_cells(name: str, frame: InspectedFrame, row: FlowRow | None, points: int) -> tuple[str, ...]:
    if row is None or frame.flow is None:
        ignored = None if row is None else row.by_class[FlowClass.IGNORED]
        return (name, number(points), *[ABSENT] * 3, number(ignored), ABSENT, ABSENT)
    flow = (number(value, 4) for value in (row.mean_m, row.max_m))
    return (name, number(points), *(number(row.by_class[kind]) for kind in _CLASSES), *flow)


def box_table(frame: InspectedFrame) -> Table | None:
    """Boxes by the LiDAR they were drawn for; None in a log without cuboids."""
    boxes = frame.boxes
    if boxes is None:
        return None
    rows = []
    for sensor, name in _BOXES_OF.items():
        own = boxes.cuboids.sensor == sensor
        moving = None if boxes.moving is None else int(boxes.moving[own].sum())
        lost = None if frame.missing_tracks is None else int(frame.missing_tracks[own].sum())
        rows.append((name, number(int(own.sum())), number(moving), number(lost)))
    other = boxes.other_lidar_only
    by_lidar = ", ".join(
        f"{number(int((other & (frame.sweep.sensor == place)).sum()))} of the {name}"
        for place, (name, _) in LIDARS.items()
    )
    heads = ("boxes of", "boxes", "moving", "track not in the next frame")
    note = f"Points only in a box of the other LiDAR (ignored): {by_lidar}."
    return plain_table(heads, rows, title="Boxes", notes=(note,))


def camera_table(frame: InspectedFrame, colours: Sequence[ColourRow]) -> Table:
    """Depth and colours of each camera, and of all."""
    total = len(frame.sweep.points)
    rows = []
    for view, row in zip(frame.views, colours, strict=True):
        depth = number(len(view.depth.depth)), number(int(view.depth.visible.sum()))
        depth = depth if frame.has_lidar else (ABSENT, ABSENT)
        shares = share_text(row.coloured, total), share_text(row.behind, row.coloured)
        rows.append((view.name, *depth, *shares, number(row.shared), number(row.difference)))
    coloured, behind = sum(row.coloured for row in colours), sum(row.behind for row in colours)
    rows.append(("all", "", "", share_text(coloured, total), share_text(behind, coloured), "", ""))
    heads = ("camera", "depth px raw", "visible", "colours", "8x8 behind", "shared", "difference")
    note = (
        "colours: share of all points that have this camera's colour. 8x8 behind: of these, the share with a return "
        "more than 5 % + 0.5 m nearer in the same 8x8 px cell, a sign of a wrong colour that also hits far road and "
        "outlines. shared: points seen here that another camera coloured, and the median difference of that colour "
        "from this image's pixel (of 255)."
    )
    return plain_table(heads, rows, title="Depth and colours by camera", notes=(note,))
