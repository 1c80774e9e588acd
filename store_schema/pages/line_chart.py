"""Line charts over the steps of a training as inline SVG: every value in pale, a running mean on top."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from store_schema.pages.svg import drawing, element, figure, key, round_ticks, text
from store_schema.pages.values import plural

WIDTH, HEIGHT = 460, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 30
_MAX_BINS = 280
_OUTLIERS = 0.004
"""At most this share of the values, those farthest out, may lie beyond the axis."""
_LARGEST, _SMALLEST = 1e100, 1e-100
"""What is beyond is drawn as that: it can be neither summed nor scaled."""
_MOST_DECADES = 12
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """One column of the training log."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a chart."""

    curve: Curve
    label: str = ""
    """For the key below the chart; empty draws none."""
    style: Literal["mean", "exact", "dots"] = "mean"
    """Running mean over pale values; or the values themselves, as a line or with a dot at each."""


def chart(title: str, lines: Sequence[Line], unit: str = "", *, log: bool = False) -> Markup:
    """Curves over the step, as a figure.

    The pale line spans the values of each pixel column, the strong one is their running mean. Values that are not
    finite (or not positive on a logarithmic axis) are left out and counted in the title; so are the few far outliers
    that would flatten everything else, which run out of the picture.

    Args:
        title: What is drawn.
        lines: One to four curves on the same axis.
        unit: Of the values.
        log: Draw the values on a logarithmic axis.
    """
    drawn = [_drawable(line.curve, log) for line in lines]
    everything = np.concatenate([values for _, values in drawn])
    dropped = sum(len(line.curve.steps) for line in lines) - len(everything)
    low, high = _span(everything)
    beyond = int(((everything < low) | (everything > high)).sum())
    unfit = "not positive and finite" if log else "not finite"
    aside = ", ".join(
        f"{plural(count, 'value')} {what}" for count, what in ((dropped, unfit), (beyond, "off the axis")) if count
    )
    head, parts = title + (f" [{unit}]" if unit else ""), list[Markup]()
    if len(everything):
        steps = np.concatenate([steps for steps, _ in drawn])
        axes = _Axes(float(steps.min()), float(steps.max()), low, high, log)
        parts += axes.grid()
        for place, (line, (x, y)) in enumerate(zip(lines, drawn, strict=True)):
            parts.append(element("g", *_curve(axes.x(x), axes.y(y), line.style), class_=f"c{place}"))
    labels = {f"c{place}": line.label for place, line in enumerate(lines) if line.label}
    picture = drawing(WIDTH, HEIGHT, f"{head} ({aside})" if aside else head, parts)
    return figure(head, picture + key(labels) if labels else picture, aside)


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where steps and values lie in the picture; values are logarithms when `log`."""

    first: float
    last: float
    low: float
    high: float
    log: bool

    def x(self, steps: Array) -> Array:
        return _LEFT + (steps - self.first) / max(self.last - self.first, 1.0) * (WIDTH - _RIGHT - _LEFT)

    def y(self, values: Array) -> Array:
        bottom = HEIGHT - _BOTTOM
        inside = np.clip(values, self.low, self.high)
        return bottom + (inside - self.low) / (self.high - self.low) * (_TOP - bottom)

    def grid(self) -> Iterator[Markup]:
        """Lines and numbers of both axes."""
        for value, words in self._value_ticks():
            y = float(self.y(np.array([value]))[0])
            yield element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y)
            yield text(_LEFT - 7, y + 4, words, "end")
        for tick in round_ticks(self.first, max(self.last, self.first + 1)):
            if self.first <= tick <= self.last and tick == round(tick):
                x = float(self.x(np.array([tick]))[0])
                yield text(x, HEIGHT - 12, f"{int(tick):,}", "end" if x > WIDTH - 40 else "middle")
        yield text(2, HEIGHT - 12, "step")

    def _value_ticks(self) -> list[tuple[float, str]]:
        if not self.log:
            return [(t, f"{t:,.6g}") for t in round_ticks(self.low, self.high) if self.low <= t <= self.high]
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        digits = (1,) if self.high - self.low > 2.5 else (1, 2, 5)
        decades = decades[:: -(-len(decades) // _MOST_DECADES)]
        marks = [digit * 10.0**decade for decade in decades for digit in digits]
        return [(math.log10(m), f"{m:g}") for m in marks if self.low <= math.log10(m) <= self.high]


def _drawable(curve: Curve, log: bool) -> tuple[Array, Array]:
    """Steps and values (their logarithms) that have a place on the axis."""
    steps, values = np.array(curve.steps, float), np.array(curve.values, float)
    keep = np.isfinite(values) & (values > 0 if log else True)
    steps, values = steps[keep], values[keep]
    if log:
        return steps, np.log10(values.clip(_SMALLEST, _LARGEST))
    return steps, np.where(abs(values) < _SMALLEST, 0.0, values.clip(-_LARGEST, _LARGEST))


def _span(values: Array) -> tuple[float, float]:
    """Lowest and highest value of the axis."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    inner_low, inner_high = (float(np.quantile(values, q)) for q in (_OUTLIERS / 2, 1 - _OUTLIERS / 2))
    reach = inner_high - inner_low
    if reach > 0:  # only far outliers are cut
        low, high = max(low, inner_low - reach), min(high, inner_high + reach)
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    if 0 <= low < 0.35 * high:  # near enough to show how far from nothing
        return 0.0, high + margin
    return low - margin, high + margin


def _curve(x: Array, y: Array, style: str) -> list[Markup]:
    if style == "dots":
        marks = [element("circle", cx=a, cy=b, r=2.6, class_="dot") for a, b in zip(x, y, strict=True)]
        return [_polyline(x, y, "mean"), *marks]
    if style == "exact":
        return [_polyline(*_extremes(x, y), "mean")]
    smooth = _running_mean(y, max(1, len(y) // 25))
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), 2 * _MAX_BINS)).round().astype(int))
    return [_polyline(*_extremes(x, y), "raw"), _polyline(x[keep], smooth[keep], "mean")]


def _extremes(x: Array, y: Array) -> tuple[Array, Array]:
    """Lowest and highest value of each of `_MAX_BINS` parts, in the order they come: no spike is lost."""
    if len(x) <= 2 * _MAX_BINS:
        return x, y
    edges = np.linspace(0, len(x), _MAX_BINS + 1).astype(int)
    keep = np.array(
        [
            place
            for start, stop in pairwise(edges)
            for place in sorted((start + int(y[start:stop].argmin()), start + int(y[start:stop].argmax())))
        ]
    )
    return x[keep], y[keep]


def _running_mean(values: Array, width: int) -> Array:
    """Mean of the values up to `width` to either side; the window shrinks at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - width, 0), np.minimum(index + width + 1, len(values))
    mean: Array = (total[high] - total[low]) / (high - low)
    return mean


def _polyline(x: Array, y: Array, style: str) -> Markup:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return element("polyline", points=points, class_=style)
