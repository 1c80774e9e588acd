"""The page of a frame: one HTML file that opens offline, without scripts."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from pipelines.inspect.birds_eye import ARROW_S, CLASS_NAMES, CLASS_RGB, plan_svg
from pipelines.inspect.camera_pictures import MaskPicture, colour_picture, depth_picture, mask_picture
from pipelines.inspect.counts import FRONT, ColourRow, colour_row
from pipelines.inspect.gather import InspectedFrame
from pipelines.inspect.page_tables import counts_section, moving_table
from pipelines.inspect.style import POLICY, STYLE
from pipelines.inspect.timing import LIDARS, timing_svg
from pipelines.pages.paint import FARTHEST_M, HIDDEN_RGB, NEAREST_M, depth_place, depth_rgb, jpeg_uri, reduced
from pipelines.pages.readable import ABSENT, count_text, share_text


def page_html(frame: InspectedFrame, range_m: float, options: str = "") -> str:
    """The whole page.

    Args:
        frame: what to show.
        range_m: metres from the ego to each side of the view from above.
        options: what differs from the defaults of a build, in words.
    """
    name = f"{frame.log_id}, frame {frame.sweep.frame}"
    masks = [mask_picture(frame, view) for view in frame.views]
    colours = [colour_row(frame, index) for index in range(len(frame.views))]
    body = "\n".join(
        [
            f"<h1>{escape(name)}</h1>",
            f'<p class="soft">of frames 0 to {frame.num_frames - 1}; sweep stamp {frame.sweep.time:.4f} s after the '
            f"log's first; {_points(frame)}, {len(frame.views)} cameras.</p>",
            *(f'<p class="warn">{escape(text)}</p>' for text in _remarks(frame, options)),
            counts_section(frame, colours),
            _depth_section(frame),
            _colour_section(frame, colours),
            _plan_section(frame, range_m),
            _mask_section(frame, masks),
            _timing_section(frame),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _points(frame: InspectedFrame) -> str:
    return f"{count_text(len(frame.sweep.points))} points" if frame.has_lidar else "no LiDAR"


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


def _depth_section(frame: InspectedFrame) -> str:
    figures = []
    for view in frame.views:
        raw, seen = len(view.depth.depth), int(view.depth.visible.sum())
        note = f"{count_text(raw)} pixels, {share_text(raw - seen, raw)} of them hidden"
        figures.append(_figure(view.name, note, _image(depth_picture(view), f"LiDAR depth in {view.name}")))
    return (
        '<section><h2>LiDAR depth on the images</h2><p class="soft">The nearest return a pixel (both LiDARs), by '
        "depth along the camera's axis. Magenta dots: hidden, nearer returns surround them, so the camera cannot see "
        f'them; the raw map holds them, the visible one does not.</p>{_depth_scale()}<div class="cameras">'
        f"{''.join(figures)}</div></section>"
    )


def _depth_scale() -> str:
    """Legend of the depth colours."""
    wide, metres = 600, np.geomspace(NEAREST_M, FARTHEST_M, 61)
    parts = [
        f'<rect x="{10 + i * wide / 60:.1f}" y="4" width="{wide / 60 + 0.5:.1f}" height="14" fill="{_hex(rgb)}"/>'
        for i, rgb in enumerate(depth_rgb(np.sqrt(metres[1:] * metres[:-1])))
    ]
    for tick in (2, 5, 10, 20, 50, 120):
        parts.append(f'<text x="{10 + depth_place(tick) * wide:.1f}" y="32" text-anchor="middle">{tick} m</text>')
    parts.append(f'<rect x="640" y="4" width="8" height="8" fill="{_hex(HIDDEN_RGB)}"/>')
    parts.append('<text x="654" y="13">hidden</text>')
    return f'<svg class="scale" viewBox="0 0 700 36" role="img" aria-label="Depth scale">{"".join(parts)}</svg>'


def _colour_section(frame: InspectedFrame, rows: list[ColourRow]) -> str:
    figures = []
    for view, row in zip(frame.views, rows, strict=True):
        apart = ABSENT if row.difference is None else f"{row.difference:.0f} of 255"
        note = f"{count_text(row.shared)} points here have another camera's colour, median difference {apart}"
        pair = _image(reduced(view.image), view.name) + _image(colour_picture(frame, view), f"points of {view.name}")
        figures.append(f'<figure class="twins">{_caption(view.name, note)}{pair}</figure>')
    return (
        '<section><h2>Colours rendered back</h2><p class="soft">Beside each image the points its camera sees, on '
        "black, in the colour the lift gave them, whichever camera that came from. Both must show the same scene.</p>"
        f"{''.join(figures)}</section>"
    )


def _plan_section(frame: InspectedFrame, range_m: float) -> str:
    key = "".join(
        f'<span><i style="background:{_hex(CLASS_RGB[kind])}"></i>{text}</span>' for kind, text in CLASS_NAMES.items()
    )
    key += (
        '<span><i style="background:#e8ecf3"></i>box of both LiDARs or the spinning one; its stroke points ahead</span>'
        '<span><i style="background:#c58bff"></i>dashed: sibling box, forward LiDAR only</span>'
        f'<span><i style="background:#ffe14a"></i>arrow: mean flow of a box, {ARROW_S:g} s of it; mostly FD</span>'
        '<span><i style="background:#7fd0ff"></i>the same, mostly FS</span>'
    )
    return (
        f'<section><h2>From above, {range_m:g} m to each side</h2><p class="key">{key}</p>{plan_svg(frame, range_m)}'
        f"<p class='soft'>Both LiDARs' points; point at a box or an arrow to read its label.</p></section>"
    )


def _mask_section(frame: InspectedFrame, masks: list[MaskPicture]) -> str:
    figures = []
    for view, mask in zip(frame.views, masks, strict=True):
        height, width = mask.picture.shape[:2]
        boxes = "1 box" if len(mask.labels) == 1 else f"{len(mask.labels)} boxes"
        note = f"{boxes}, {share_text(mask.pixels, view.image.shape[0] * view.image.shape[1])} of it"
        figures.append(
            _figure(
                view.name,
                note,
                f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Moving boxes in {escape(view.name)}">'
                f'<image width="{width}" height="{height}" href="{jpeg_uri(mask.picture)}"/>{_labels(mask)}</svg>',
            )
        )
    return (
        '<section><h2>Masks of what moves</h2><p class="soft">Outlines of the moving boxes of the spinning LiDAR and '
        "of both, brought to each camera's time; a box behind something is drawn all the same. Speeds are those of "
        f'the box centres.</p><div class="cameras wide">{"".join(figures)}</div>{moving_table(frame)}</section>'
    )


def _labels(mask: MaskPicture) -> str:
    """The labels in lines from the top, where the sky is, each with a line down to its mask."""
    width, ends, parts = mask.picture.shape[1], list[float](), []
    for label in sorted(mask.labels, key=lambda label: label.x):
        wide = 8.3 * len(label.text) + 6
        left = max(2.0, min(label.x - 3, width - wide))
        line = next((line for line, end in enumerate(ends) if end <= left), len(ends))
        ends[line : line + 1] = [left + wide]
        y, rgb = 15 + 14 * line, _hex(label.rgb)
        if label.y > y:
            parts.append(
                f'<line style="stroke:{rgb};stroke-opacity:.7" x1="{label.x:.1f}" x2="{label.x:.1f}" y1="{y + 3}" '
                f'y2="{label.y:.1f}"/>'
            )
        parts.append(f'<text class="tag-text" style="fill:{rgb}" x="{left:.1f}" y="{y}">{escape(label.text)}</text>')
    return "".join(parts)


def _timing_section(frame: InspectedFrame) -> str:
    key = "".join(f'<span><i class="{style}"></i>{name}</span>' for name, style in LIDARS.values())
    return (
        '<section><h2>When it was measured</h2><p class="soft">Times of the points of each LiDAR, of the boxes (the '
        "middle of the returns each was drawn around; spinning and both above, forward below), and of the points in "
        "each camera's view beside that camera's stamp. Each row has its own scale of counts. On the right the span of "
        "the times, the stamp, and the median time of the spinning LiDAR's points less the stamp.</p>"
        f'<p class="key">{key}<span><i class="line" style="background:var(--bad)"></i>stamp of the camera</span></p>'
        f'<div class="scroll">{timing_svg(frame)}</div></section>'
    )


def _image(picture: np.ndarray, alt: str) -> str:
    return f'<img src="{jpeg_uri(picture)}" alt="{escape(alt)}">'


def _figure(name: str, note: str, body: str) -> str:
    return f"<figure>{_caption(name, note)}{body}</figure>"


def _caption(name: str, note: str) -> str:
    return f"<figcaption><b>{escape(name)}</b> <small>{escape(note)}</small></figcaption>"


def _hex(rgb: Iterable[int]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in rgb)
