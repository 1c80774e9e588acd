"""Bird's-eye view of a frame: points by flow class, boxes by LiDAR, and an arrow for what moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipelines.geometry.rigid import invert_rigid, transform_points
from pipelines.ground_truth.scene_flow import box_corners
from pipelines.inspect.camera_pictures import box_text
from pipelines.inspect.gather import InspectedBoxes, InspectedFrame
from pipelines.inspect.paint import put_dots
from store_schema.labels import FlowClass
from store_schema.pages.pictures import encoded
from store_schema.pages.svg import drawing, element, note, text

SIDE_PX = 1200
ARROW_S = 1.0
"""An arrow is as long as the way in this time."""
SHORTEST_ARROW_M = 0.02
"""Of a pair's motion; less is no motion that could be seen."""
CLASS_RGB = {
    FlowClass.BACKGROUND_STATIC: (112, 118, 130),
    FlowClass.IGNORED: (226, 60, 226),
    FlowClass.FOREGROUND_STATIC: (70, 150, 255),
    FlowClass.FOREGROUND_DYNAMIC: (255, 110, 40),
}
"""Colours of the points, in the order they are painted."""
CLASS_NAMES = {
    FlowClass.BACKGROUND_STATIC: "BS: no box",
    FlowClass.FOREGROUND_STATIC: "FS: in a box, still",
    FlowClass.FOREGROUND_DYNAMIC: "FD: in a box, moving",
    FlowClass.IGNORED: "ignored: only in the other LiDAR's box, or track not in the next frame",
}
_GROUND_RGB = (14, 17, 23)


def plan_svg(frame: InspectedFrame, range_m: float) -> Markup:
    """The picture, ego at the sweep's stamp in the middle, its forward axis up.

    Args:
        frame: what to draw.
        range_m: metres from the ego to each side.
    """
    world2ego = invert_rigid(frame.ego2world)
    points = encoded(_points(frame, world2ego, range_m), colours=256)
    parts = [element("image", width=SIDE_PX, height=SIDE_PX, href=points.uri), *_rings(range_m)]
    if frame.boxes is not None:
        parts += _outlines(frame.boxes, world2ego, range_m)
        parts += _arrows(frame, frame.boxes, world2ego, range_m)
    middle = SIDE_PX / 2
    parts.append(element("path", note("ego"), class_="ego", d=f"M{middle} {middle - 14}l9 24l-9 -6l-9 6z"))
    return drawing(SIDE_PX, SIDE_PX, "The frame from above", parts, "plan")


def _points(frame: InspectedFrame, world2ego: NDArray[np.float64], range_m: float) -> NDArray[np.uint8]:
    picture = np.full((SIDE_PX, SIDE_PX, 3), _GROUND_RGB, np.uint8)
    at = _pixels(transform_points(world2ego, frame.sweep.points), range_m)
    count = len(at)
    kinds = np.full(count, FlowClass.IGNORED) if frame.flow is None else frame.flow.flow_class
    if frame.boxes is None:
        kinds = np.full(count, FlowClass.BACKGROUND_STATIC)
    for kind, rgb in CLASS_RGB.items():
        own = at[kinds == kind]
        put_dots(picture, own, np.full((len(own), 3), rgb, np.uint8), 1 if kind == FlowClass.BACKGROUND_STATIC else 2)
    return picture


def _pixels(ego: NDArray[np.float64], range_m: float) -> NDArray[np.float64]:
    """Pixels [..., 2] of the picture of points [..., 3] in ego axes: x right, y forward."""
    scale = SIDE_PX / (2 * range_m)
    return np.stack([(ego[..., 0] + range_m) * scale, (range_m - ego[..., 1]) * scale], axis=-1)


def _rings(range_m: float) -> Iterator[Markup]:
    middle, step = SIDE_PX / 2, 10 if range_m <= 60 else 25
    for metres in range(step, int(range_m) + 1, step):
        radius = metres * SIDE_PX / (2 * range_m)
        yield element("circle", class_="ring", cx=middle, cy=middle, r=radius)
        yield text(middle + 4, middle - radius + 14, f"{metres} m", class_="far")


def _outlines(boxes: InspectedBoxes, world2ego: NDArray[np.float64], range_m: float) -> Iterator[Markup]:
    cuboids = boxes.cuboids
    corners = box_corners(cuboids.position, cuboids.size, cuboids.yaw)
    # Corners of the floor, in turn, then from the centre to the middle of the front side.
    floor = corners[:, [0, 2, 6, 4]]
    flat = _pixels(transform_points(world2ego, floor.reshape(-1, 3)).reshape(-1, 4, 3), range_m)
    centre, front = flat.mean(axis=1), flat[:, 1:3].mean(axis=1)
    inside = np.any(((flat > 0) & (flat < SIDE_PX)).all(axis=2), axis=1)
    for row in np.flatnonzero(inside):
        shape = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in flat[row]) + "z"
        shape += f"M{centre[row, 0]:.1f} {centre[row, 1]:.1f}L{front[row, 0]:.1f} {front[row, 1]:.1f}"
        lidar = {-1: "both LiDARs", 0: "spinning LiDAR", 1: "forward LiDAR"}[int(cuboids.sensor[row])]
        words = f"{box_text(boxes, int(row))}, {lidar}, track {cuboids.track[row]}"
        yield element("path", note(words), class_="box sibling" if cuboids.sensor[row] == 1 else "box", d=shape)


def _arrows(
    frame: InspectedFrame, boxes: InspectedBoxes, world2ego: NDArray[np.float64], range_m: float
) -> Iterator[Markup]:
    """An arrow a box with points of known motion: their mean place, their mean flow."""
    if frame.flow is None or boxes.beside is None:
        return
    flow = frame.flow
    stretch = ARROW_S / (boxes.beside.time - frame.sweep.time)
    for row in np.unique(flow.cuboid[flow.flow_class != FlowClass.IGNORED]):
        own = flow.cuboid == row
        if row < 0 or np.linalg.norm(motion := flow.flow[own].mean(axis=0)) < SHORTEST_ARROW_M:
            continue
        start = frame.sweep.points[own].mean(axis=0)
        ends = transform_points(world2ego, np.stack([start, start + motion * stretch]))
        (x, y), (to_x, to_y) = _pixels(ends, range_m)
        if not (0 <= x < SIDE_PX and 0 <= y < SIDE_PX):
            continue
        dynamic = (flow.flow_class[own] == FlowClass.FOREGROUND_DYNAMIC).mean() >= 0.5
        words = f"{box_text(boxes, int(row))}: {int(own.sum()):,} points move {np.linalg.norm(motion):.2f} m"
        style = "arrow fd" if dynamic else "arrow fs"
        yield element("path", note(words), class_=style, d=_arrow(x, y, to_x, to_y))


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Path of a line with a head, the head never longer than the line."""
    long = float(np.hypot(to_x - x, to_y - y))
    ahead = np.array([to_x - x, to_y - y]) / max(long, 1e-9) * min(11.0, long)
    side = np.array([-ahead[1], ahead[0]]) * 0.45
    tip = np.array([to_x, to_y])
    a, b = tip - ahead + side, tip - ahead - side
    return f"M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}M{a[0]:.1f} {a[1]:.1f}L{to_x:.1f} {to_y:.1f}L{b[0]:.1f} {b[1]:.1f}"
