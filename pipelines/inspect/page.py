"""The page of a frame: one HTML file that opens offline, without scripts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from pipelines.inspect.birds_eye import ARROW_S, CLASS_NAMES, CLASS_RGB, plan_svg
from pipelines.inspect.camera_pictures import MaskPicture, colour_picture, depth_picture, mask_picture
from pipelines.inspect.counts import FRONT, ColourRow, colour_row
from pipelines.inspect.gather import InspectedFrame, InspectedView
from pipelines.inspect.page_tables import box_table, camera_table, flow_table, moving_table
from pipelines.inspect.paint import FARTHEST_M, HIDDEN_RGB, NEAREST_M, depth_place, depth_rgb, reduced
from pipelines.inspect.timing import LIDARS, timing_svg
from store_schema.pages.pictures import Picture, encoded
from store_schema.pages.shell import render
from store_schema.pages.svg import drawing, element, text
from store_schema.pages.values import ABSENT, number, share_text


def page_html(frame: InspectedFrame, range_m: float, options: str = "") -> str:
    """The whole page.

    Args:
        frame: what to show.
        range_m: metres from the ego to each side of the view from above.
        options: what differs from the defaults of a build, in words.
    """
    rows = [colour_row(frame, index) for index in range(len(frame.views))]
    return render(
        "pipelines.inspect/page.html",
        frame=frame,
        name=f"{frame.log_id}, frame {frame.sweep.frame}",
        remarks=list(_remarks(frame, options)),
        flow=flow_table(frame),
        boxes=box_table(frame),
        cameras=camera_table(frame, rows),
        depth_scale=_depth_scale(),
        depths=[_depth(view) for view in frame.views],
        colours=[_colours(frame, view, row) for view, row in zip(frame.views, rows, strict=True)],
        range_m=f"{range_m:g}",
        plan_key=[(_hex(CLASS_RGB[kind]), words) for kind, words in CLASS_NAMES.items()],
        arrow_s=f"{ARROW_S:g}",
        plan=plan_svg(frame, range_m),
        masks=[_mask(frame, view) for view in frame.views],
        moving=moving_table(frame),
        lidars=[(style, name) for name, style in LIDARS.values()],
        timing=timing_svg(frame),
    )


def _remarks(frame: InspectedFrame, options: str) -> Iterable[str]:
    """What is not as by default, and what this frame cannot show, with why."""
    if options:
        yield f"Not the defaults: {options}."
    if frame.view(FRONT) is None:
        has = ", ".join(view.name for view in frame.views) or "no camera"
        yield f"{FRONT} is not in this log (it has {has}): counts of P0 and its depth map are {ABSENT}."
    if frame.no_flow is not None:
        yield f"BS, FS, FD and flow are {ABSENT}: {frame.no_flow}."
    if frame.boxes is not None and frame.no_flow is not None:
        beside = frame.boxes.beside
        how = (
            f"to frame {beside.cuboids.frame}, the one before"
            if beside is not None
            else f"{ABSENT}: no usable frame beside"
        )
        yield f"What moves (masks, speeds) is judged from the motion {how}."


def _depth(view: InspectedView) -> tuple[str, str, Picture]:
    raw, seen = len(view.depth.depth), int(view.depth.visible.sum())
    note = f"{number(raw)} pixels, {share_text(raw - seen, raw)} of them hidden"
    return view.name, note, encoded(depth_picture(view), "jpeg")


def _depth_scale() -> Markup:
    """Legend of the depth colours."""
    wide, metres = 600, np.geomspace(NEAREST_M, FARTHEST_M, 61)
    parts = [
        element("rect", x=10 + i * wide / 60, y=4, width=wide / 60 + 0.5, height=14, fill=_hex(rgb))
        for i, rgb in enumerate(depth_rgb(np.sqrt(metres[1:] * metres[:-1])))
    ]
    parts += [text(10 + depth_place(tick) * wide, 32, f"{tick} m", "middle") for tick in (2, 5, 10, 20, 50, 120)]
    parts.append(element("rect", x=640, y=4, width=8, height=8, fill=_hex(HIDDEN_RGB)))
    return drawing(700, 36, "Depth scale", [*parts, text(654, 13, "hidden")], "scale")


def _colours(frame: InspectedFrame, view: InspectedView, row: ColourRow) -> tuple[str, str, Picture, Picture]:
    apart = ABSENT if row.difference is None else f"{row.difference:.0f} of 255"
    note = f"{number(row.shared)} points here have another camera's colour, median difference {apart}"
    return view.name, note, encoded(reduced(view.image), "jpeg"), encoded(colour_picture(frame, view), "jpeg")


def _mask(frame: InspectedFrame, view: InspectedView) -> tuple[str, str, Markup]:
    mask = mask_picture(frame, view)
    boxes = "1 box" if len(mask.labels) == 1 else f"{len(mask.labels)} boxes"
    note = f"{boxes}, {share_text(mask.pixels, view.image.shape[0] * view.image.shape[1])} of it"
    picture = encoded(mask.picture, "jpeg")
    image = element("image", width=picture.width, height=picture.height, href=picture.uri)
    label = f"Moving boxes in {view.name}"
    return view.name, note, drawing(picture.width, picture.height, label, [image, *_labels(mask)])


def _labels(mask: MaskPicture) -> Iterable[Markup]:
    """The labels in lines from the top, where the sky is, each with a line down to its mask."""
    width, ends = mask.picture.shape[1], list[float]()
    for label in sorted(mask.labels, key=lambda label: label.x):
        wide = 8.3 * len(label.text) + 6
        left = max(2.0, min(label.x - 3, width - wide))
        line = next((line for line, end in enumerate(ends) if end <= left), len(ends))
        ends[line : line + 1] = [left + wide]
        y, rgb = 15 + 14 * line, _hex(label.rgb)
        if label.y > y:
            stroke = f"stroke:{rgb};stroke-opacity:.7"
            yield element("line", style=stroke, x1=label.x, x2=label.x, y1=y + 3, y2=label.y)
        yield text(left, y, label.text, class_="label", style=f"fill:{rgb}")


def _hex(rgb: Iterable[int]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in rgb)
