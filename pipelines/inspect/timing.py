"""When everything of a frame was measured, in milliseconds from the sweep's stamp."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipelines.inspect.gather import InspectedFrame
from store_schema.pages.svg import drawing, element, note, text
from store_schema.pages.values import ABSENT

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


def timing_svg(frame: InspectedFrame) -> Markup:
    """Times of each LiDAR's points, of the boxes, and for each camera its stamp and the times of the points it sees."""
    sweep = frame.sweep
    point_ms = (sweep.times - sweep.time) * 1e3
    stamps = [(view.sighting.camera.time - sweep.time) * 1e3 for view in frame.views]
    box_ms = np.zeros(0) if frame.boxes is None else (frame.boxes.times - sweep.time) * 1e3
    everything = np.concatenate([point_ms, stamps, box_ms, [0.0]])
    axis = _Axis(np.floor(everything.min() / 10) * 10, np.ceil(everything.max() / 10) * 10 + 10)
    height = _TOP + _ROW * (len(LIDARS) + 1 + len(stamps)) + 34
    parts = [*_grid(axis, height), *_box_row(axis, len(LIDARS), frame, box_ms)]
    for number, (name, _) in LIDARS.items():
        parts += _row(axis, number, name, point_ms, sweep.sensor, sweep.sensor == number)
    for place, index in enumerate(np.argsort(stamps, kind="stable"), start=len(LIDARS) + 1):
        view, inside = frame.views[index], np.zeros(len(point_ms), np.bool_)
        inside[view.sighting.projection.rows] = True
        parts += _row(axis, place, view.name, point_ms, sweep.sensor, inside, stamps[index])
    return drawing(_WIDTH, height + 4, "Times of the frame", parts, "timing")


def _row(
    axis: _Axis,
    place: int,
    name: str,
    point_ms: NDArray[np.float64],  # [P]
    sensor: NDArray[np.uint8],  # [P]
    chosen: NDArray[np.bool_],  # [P]
    stamp: float | None = None,
) -> Iterator[Markup]:
    """Histogram of the times of some points, the LiDARs stacked; for a camera with its stamp."""
    floor = _TOP + _ROW * (place + 1)
    edges = np.arange(axis.low, axis.high + _BIN_MS, _BIN_MS)
    counts = {number: np.histogram(point_ms[chosen & (sensor == number)], edges)[0] for number in LIDARS}
    most = max(1, int(sum(counts.values()).max()))  # type: ignore[union-attr]
    yield text(_LEFT - 10, floor - 14, name, "end")
    ground = np.zeros(len(edges) - 1)
    wide = axis.x(_BIN_MS) - axis.x(0)
    for number, (lidar, style) in LIDARS.items():
        for bin_ in np.flatnonzero(counts[number]):
            tall = counts[number][bin_] / most * (_ROW - 10)
            words = f"{counts[number][bin_]:,} points of the {lidar}, {edges[bin_]:g} to {edges[bin_ + 1]:g} ms"
            yield _bar(style, axis.x(edges[bin_]), floor - ground[bin_] - tall, wide, tall, words)
            ground[bin_] += tall
    if stamp is not None:
        x = axis.x(stamp)
        yield element("line", class_="stamp", x1=x, x2=x, y1=floor - _ROW + 6, y2=floor + 3)
        yield text(_WIDTH - _RIGHT + 12, floor - 7, _lag(stamp, point_ms[chosen & (sensor == 0)]))
    yield text(_WIDTH - _RIGHT + 12, floor - 22, _span(point_ms[chosen]))


def _box_row(axis: _Axis, place: int, frame: InspectedFrame, box_ms: NDArray[np.float64]) -> Iterator[Markup]:
    """A tick a box: those of the spinning LiDAR and of both above, the forward LiDAR's below."""
    floor = _TOP + _ROW * (place + 1)
    yield text(_LEFT - 10, floor - 14, "boxes", "end")
    if frame.boxes is None:
        yield text(_WIDTH - _RIGHT + 12, floor - 14, f"{ABSENT}: the log has no cuboids")
        return
    cuboids = frame.boxes.cuboids
    for row, ms in enumerate(box_ms.tolist()):
        forward = int(cuboids.sensor[row] == 1)
        top = floor - _ROW + 8 + forward * (_ROW - 10) / 2
        lidar, style = LIDARS[forward]
        words = f"{cuboids.label[row]}, {lidar}: {ms:+.1f} ms"
        yield _bar(style, axis.x(ms) - 0.75, top, 1.5, (_ROW - 14) / 2, words)
    yield text(_WIDTH - _RIGHT + 12, floor - 22, _span(box_ms))


def _bar(style: str, x: float, y: float, width: float, height: float, words: str) -> Markup:
    return element("rect", note(words), class_=style, x=x, y=y, width=width, height=height)


def _grid(axis: _Axis, height: int) -> Iterator[Markup]:
    step = 10 if axis.high - axis.low <= 300 else 50
    for ms in range(int(np.ceil(axis.low / step)) * step, int(axis.high) + 1, step):
        x = axis.x(ms)
        yield element("line", class_=None if ms else "zero", x1=x, x2=x, y1=_TOP, y2=height - 30)
        yield text(x, height - 16, f"{ms:+d}" if ms else "stamp", "middle")
    yield text((_LEFT + _WIDTH - _RIGHT) / 2, height - 2, "ms from the sweep's stamp", "middle")


def _span(ms: NDArray[np.float64]) -> str:
    return f"{ms.min():+.1f} to {ms.max():+.1f} ms" if len(ms) else "none"


def _lag(stamp: float, spinning_ms: NDArray[np.float64]) -> str:
    """When the camera is taken to expose, and how far the median time of the spinning LiDAR's points lies from it."""
    text = f"taken at {stamp:+.1f}"
    return text + (f", spinning {np.median(spinning_ms) - stamp:+.1f}" if len(spinning_ms) else "")
