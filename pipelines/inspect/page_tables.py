"""The tables of a frame's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from pipelines.inspect.counts import FRONT, ColourRow, FlowRow, bucket_rows, flow_row, front_points
from pipelines.inspect.gather import InspectedFrame
from pipelines.inspect.timing import LIDARS
from pipelines.pages.readable import ABSENT, count_text, share_text
from store_schema.labels import FlowClass

_CLASSES = (
    FlowClass.BACKGROUND_STATIC,
    FlowClass.FOREGROUND_STATIC,
    FlowClass.FOREGROUND_DYNAMIC,
    FlowClass.IGNORED,
)
_BOXES_OF = {-1: "both LiDARs", 0: "spinning LiDAR only", 1: "forward LiDAR only"}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its first column to the left."""
    side = [" class=l"] + [""] * (len(heads) - 1)
    top = "".join(f"<th{a}>{escape(head)}</th>" for a, head in zip(side, heads, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{a}>{escape(cell)}</td>" for a, cell in zip(side, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def counts_section(frame: InspectedFrame, colours: Sequence[ColourRow]) -> str:
    """Points, flow, depth, colours and boxes in numbers."""
    return (
        f'<div class="pair"><section><h2>Points and flow</h2>{_flow_tables(frame)}</section>'
        f"<section><h2>Boxes</h2>{_box_table(frame)}<h2>Depth and colours by camera</h2>"
        f"{_camera_table(frame, colours)}</section></div>"
    )


def moving_table(frame: InspectedFrame) -> str:
    """The moving boxes, the fastest first."""
    boxes = frame.boxes
    if boxes is None or boxes.moving is None or boxes.speed is None:
        return f'<p class="na">moving boxes: {ABSENT}</p>'
    rows = []
    for row in sorted(np.flatnonzero(boxes.moving), key=lambda row: -boxes.speed[row]):  # type: ignore[index]
        points = ABSENT if frame.flow is None else count_text(int((frame.flow.cuboid == row).sum()))
        time = 1e3 * (boxes.times[row] - frame.sweep.time)
        cells = (boxes.cuboids.label[row], boxes.cuboids.track[row][:8], _BOXES_OF[int(boxes.cuboids.sensor[row])])
        rows.append((*cells, f"{boxes.speed[row]:.2f}", f"{time:+.1f}", points))
    heads = ("label", "track", "box of", "m/s", "true at, ms", "points")
    return f"<details><summary>{len(rows)} moving boxes</summary>{table(heads, rows)}</details>"


def _flow_tables(frame: InspectedFrame) -> str:
    sweep, view = frame.sweep, frame.view(FRONT)
    groups = {name: np.flatnonzero(sweep.sensor == number) for number, (name, _) in LIDARS.items()}
    rows = [_flow_cells(name, frame, flow_row(frame, held), len(held)) for name, held in groups.items()]
    if view is not None:
        chosen = front_points(frame, view)
        rows.append(_flow_cells("P0: spinning, in front_camera", frame, flow_row(frame, chosen), len(chosen)))
        rows += [_flow_cells(f"P0, {name}", frame, row, row.points) for name, row in bucket_rows(frame, chosen).items()]
    else:
        rows.append(("P0: spinning, in front_camera", *[ABSENT] * 7))
    heads = ("points of", "points", "BS", "FS", "FD", "ignored", "mean flow, m", "largest, m")
    return table(heads, rows) + (
        '<p class="soft">Flow is the motion to the next sweep without that of the ego; mean and largest are of BS, FS '
        "and FD points. P0 is the point set of the evaluation.</p>"
    )


def _flow_cells(name: str, frame: InspectedFrame, row: FlowRow | None, points: int) -> tuple[str, ...]:
    if row is None or frame.flow is None:
        ignored = ABSENT if row is None else count_text(row.by_class[FlowClass.IGNORED])
        return (name, count_text(points), *[ABSENT] * 3, ignored, ABSENT, ABSENT)
    flow = (ABSENT if value is None else f"{value:.4f}" for value in (row.mean_m, row.max_m))
    return (name, count_text(points), *(count_text(row.by_class[kind]) for kind in _CLASSES), *flow)


def _box_table(frame: InspectedFrame) -> str:
    boxes = frame.boxes
    if boxes is None:
        return f'<p class="na">{ABSENT}: the log has no cuboids</p>'
    rows = []
    for sensor, name in _BOXES_OF.items():
        own = boxes.cuboids.sensor == sensor
        moving = ABSENT if boxes.moving is None else count_text(int(boxes.moving[own].sum()))
        lost = ABSENT if frame.missing_tracks is None else count_text(int(frame.missing_tracks[own].sum()))
        rows.append((name, count_text(int(own.sum())), moving, lost))
    other = boxes.other_lidar_only
    by_lidar = ", ".join(
        f"{count_text(int((other & (frame.sweep.sensor == number)).sum()))} of the {name}"
        for number, (name, _) in LIDARS.items()
    )
    return (
        table(("boxes of", "boxes", "moving", "track not in the next frame"), rows)
        + f'<p class="soft">Points only in a box of the other LiDAR (ignored): {by_lidar}.</p>'
    )


def _camera_table(frame: InspectedFrame, colours: Sequence[ColourRow]) -> str:
    total = len(frame.sweep.points)
    rows = []
    for view, row in zip(frame.views, colours, strict=True):
        raw, seen = len(view.depth.depth), int(view.depth.visible.sum())
        apart = ABSENT if row.difference is None else f"{row.difference:.0f}"
        rows.append(
            (
                view.name,
                count_text(raw) if frame.has_lidar else ABSENT,
                count_text(seen) if frame.has_lidar else ABSENT,
                share_text(row.coloured, total),
                share_text(row.behind, row.coloured),
                count_text(row.shared),
                apart,
            )
        )
    coloured, behind = sum(row.coloured for row in colours), sum(row.behind for row in colours)
    rows.append(("all", "", "", share_text(coloured, total), share_text(behind, coloured), "", ""))
    heads = ("camera", "depth px raw", "visible", "colours", "8x8 behind", "shared", "difference")
    return table(heads, rows) + (
        '<p class="soft">colours: share of all points that have this camera\'s colour. 8x8 behind: of these, the share '
        "with a return more than 5 % + 0.5 m nearer in the same 8x8 px cell, a sign of a wrong colour that also hits "
        "far road and outlines. shared: points seen here that another camera coloured, and the median difference of "
        "that colour from this image's pixel (of 255).</p>"
    )
