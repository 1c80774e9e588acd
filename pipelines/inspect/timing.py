"""When everything of a frame was measured, in milliseconds from the sweep's stamp."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from pipelines.inspect.gather import InspectedFrame

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 1240, 140, 210, 46, 8
_BIN_MS = 2.0
LIDARS = {0: ("spinning LiDAR", "spin"), 1: ("forward LiDAR", "ahead")}
"""Name and style of each LiDAR."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Time across the picture."""

    low: float  # ms
    high: float  # ms

    def x(self, ms: float) -> float:
        """Where a time stands, in pixels."""
        return _LEFT + (ms - self.low) / (self.high - self.low) * (_WIDTH - _LEFT - _RIGHT)


def timing_svg(frame: InspectedFrame) -> str:
    """Times of each LiDAR's points, of the boxes, and for each camera its stamp and the times of the points it sees."""
    sweep = frame.sweep
    point_ms = (sweep.times - sweep.time) * 1e3
    stamps = [(view.sighting.camera.time - sweep.time) * 1e3 for view in frame.views]
    box_ms = np.zeros(0) if frame.boxes is None else (frame.boxes.times - sweep.time) * 1e3
    everything = np.concatenate([point_ms, stamps, box_ms, [0.0]])
    axis = _Axis(np.floor(everything.min() / 10) * 10, np.ceil(everything.max() / 10) * 10 + 10)
    rows = [_row(axis, number, LIDARS[number][0], point_ms, sweep.sensor, sweep.sensor == number) for number in LIDARS]
    rows.append(_box_row(axis, len(rows), frame, box_ms))
    for index in np.argsort(stamps, kind="stable"):
        view, inside = frame.views[index], np.zeros(len(point_ms), np.bool_)
        inside[view.sighting.projection.rows] = True
        rows.append(_row(axis, len(rows), view.name, point_ms, sweep.sensor, inside, stamps[index]))
    height = _TOP + _ROW * len(rows) + 34
    return (
        f'<svg class="timing" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Times of the frame">'
        f"{_grid(axis, height)}{''.join(rows)}</svg>"
    )


def _row(
    axis: _Axis,
    place: int,
    name: str,
    point_ms: NDArray[np.float64],  # [P]
    sensor: NDArray[np.uint8],  # [P]
    chosen: NDArray[np.bool_],  # [P]
    stamp: float | None = None,
) -> str:
    """Histogram of the times of some points, the LiDARs stacked; for a camera with its stamp."""
    floor = _TOP + _ROW * (place + 1)
    edges = np.arange(axis.low, axis.high + _BIN_MS, _BIN_MS)
    counts = {number: np.histogram(point_ms[chosen & (sensor == number)], edges)[0] for number in LIDARS}
    most = max(1, int(sum(counts.values()).max()))  # type: ignore[union-attr]
    parts = [_text(_LEFT - 10, floor - 14, name, "end")]
    ground = np.zeros(len(edges) - 1)
    wide = axis.x(_BIN_MS) - axis.x(0)
    for number, (lidar, style) in LIDARS.items():
        for bin_ in np.flatnonzero(counts[number]):
            tall = counts[number][bin_] / most * (_ROW - 10)
            parts.append(
                f'<rect class="{style}" x="{axis.x(edges[bin_]):.1f}" y="{floor - ground[bin_] - tall:.1f}" '
                f'width="{wide:.1f}" height="{tall:.1f}"><title>{counts[number][bin_]:,} points of the {lidar}, '
                f"{edges[bin_]:g} to {edges[bin_ + 1]:g} ms</title></rect>"
            )
            ground[bin_] += tall
    if stamp is not None:
        x = axis.x(stamp)
        parts.append(f'<line class="stamp" x1="{x:.1f}" x2="{x:.1f}" y1="{floor - _ROW + 6}" y2="{floor + 3}"/>')
    parts.append(_text(_WIDTH - _RIGHT + 12, floor - 22, _span(point_ms[chosen]), "start"))
    if stamp is not None:
        parts.append(_text(_WIDTH - _RIGHT + 12, floor - 7, _lag(stamp, point_ms[chosen & (sensor == 0)]), "start"))
    return "".join(parts)


def _box_row(axis: _Axis, place: int, frame: InspectedFrame, box_ms: NDArray[np.float64]) -> str:
    """A tick a box: those of the spinning LiDAR and of both above, the forward LiDAR's below."""
    floor = _TOP + _ROW * (place + 1)
    parts = [_text(_LEFT - 10, floor - 14, "boxes", "end")]
    if frame.boxes is None:
        return "".join([*parts, _text(_WIDTH - _RIGHT + 12, floor - 14, "n/a: the log has no cuboids", "start")])
    cuboids = frame.boxes.cuboids
    for row, ms in enumerate(box_ms.tolist()):
        forward = int(cuboids.sensor[row] == 1)
        top = floor - _ROW + 8 + forward * (_ROW - 10) / 2
        note = f"{cuboids.label[row]}, {LIDARS[forward][0]}: {ms:+.1f} ms"
        parts.append(
            f'<rect class="{LIDARS[forward][1]}" x="{axis.x(ms) - 0.75:.2f}" y="{top:.1f}" width="1.5" '
            f'height="{(_ROW - 14) / 2:.1f}"><title>{escape(note)}</title></rect>'
        )
    parts.append(_text(_WIDTH - _RIGHT + 12, floor - 22, _span(box_ms), "start"))
    return "".join(parts)


def _grid(axis: _Axis, height: int) -> str:
    parts = []
    step = 10 if axis.high - axis.low <= 300 else 50
    for ms in range(int(np.ceil(axis.low / step)) * step, int(axis.high) + 1, step):
        x, style = axis.x(ms), ' class="zero"' if ms == 0 else ""
        parts.append(f'<line{style} x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - 30}"/>')
        parts.append(_text(x, height - 16, f"{ms:+d}" if ms else "stamp", "middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return "".join(parts) + _text(middle, height - 2, "ms from the sweep's stamp", "middle")


def _span(ms: NDArray[np.float64]) -> str:
    return f"{ms.min():+.1f} to {ms.max():+.1f} ms" if len(ms) else "none"


def _lag(stamp: float, spinning_ms: NDArray[np.float64]) -> str:
    """When the camera is taken to expose, and how far the median time of the spinning LiDAR's points lies from it."""
    text = f"taken at {stamp:+.1f}"
    return text + (f", spinning {np.median(spinning_ms) - stamp:+.1f}" if len(spinning_ms) else "")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
