"""Line charts as inline SVG."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from evaluation.run_info import Curve

WIDTH, HEIGHT = 560, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 34
_MAX_POINTS = 600


def line_chart(curve: Curve, unit: str = "") -> str:
    """A training curve: every step in pale, a running mean on top.

    Values that are not finite are left out and counted in the title.
    """
    steps, values = np.array(curve.steps, float), np.array(curve.values, float)
    finite = np.isfinite(values)
    dropped = int((~finite).sum())
    steps, values = steps[finite], values[finite]
    title = curve.name + (f" [{unit}]" if unit else "") + (f" ({dropped} values not finite)" if dropped else "")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{_LEFT}" y="18" class="t">{escape(title)}</text>',
    ]
    if len(steps):
        ticks = _ticks(float(values.min()), float(values.max()))
        low, high = min(ticks[0], float(values.min())), max(ticks[-1], float(values.max()))
        x = _scale(steps, steps.min(), max(steps.max(), steps.min() + 1), _LEFT, WIDTH - _RIGHT)
        y = _scale(values, low, high, HEIGHT - _BOTTOM, _TOP)
        for tick in ticks:
            height = float(_scale(np.array([tick]), low, high, HEIGHT - _BOTTOM, _TOP)[0])
            parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}" class="g"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" class="a" text-anchor="end">{tick:g}</text>')
        for column, anchor in ((0, "start"), (-1, "end")):
            parts.append(
                f'<text x="{x[column]:.1f}" y="{HEIGHT - 12}" class="a" text-anchor="{anchor}">'
                f"step {int(steps[column])}</text>"
            )
        smooth = _running_mean(y, max(1, len(y) // 25))
        parts.append(f'<polyline points="{_points(x, y)}" class="raw"/>')
        parts.append(f'<polyline points="{_points(x, smooth)}" class="mean"/>')
    return "".join(parts) + "</svg>"


def _scale(values: np.ndarray, low: float, high: float, start: float, end: float) -> np.ndarray:
    return start + (values - low) / ((high - low) or 1.0) * (end - start)


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that span the values."""
    span = (high - low) or abs(high) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if span / (m * magnitude) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * k, 12) for k in range(first, last + 1)]


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the values up to `width` to either side; the window shrinks at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - width, 0), np.minimum(index + width + 1, len(values))
    mean: np.ndarray = (total[high] - total[low]) / (high - low)
    return mean


def _points(x: np.ndarray, y: np.ndarray) -> str:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MAX_POINTS)).round().astype(int))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[keep], y[keep], strict=True))
