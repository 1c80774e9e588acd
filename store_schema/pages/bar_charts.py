"""Charts of bars as inline SVG: histograms, and shares that add up to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from store_schema.pages.histogram import Histogram
from store_schema.pages.svg import drawing, element, figure, key, note, round_ticks, short_number, text
from store_schema.pages.values import ABSENT, number

WIDTH, HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 24, 12, 42
MOST_COLUMNS = 200
"""More clips than this share a column of the stacked chart."""


def histogram_chart(title: str, bins: Histogram | None, unit: str, items: str = "clips") -> Markup:
    """A histogram as a figure; ``n/a`` when there is nothing to count.

    Args:
        title: heading.
        bins: what to draw.
        unit: of the values, for the horizontal axis.
        items: what is counted, for the vertical axis.
    """
    if bins is None:
        return _absent(title)
    ticks = round_ticks(0, max(bins.counts), whole=True)
    step = (WIDTH - _LEFT - _RIGHT) / len(bins.counts)
    scale = (HEIGHT - _TOP - _BOTTOM) / ticks[-1]
    parts = _axis(ticks, scale, [number(tick) for tick in ticks])
    for index, count in enumerate(bins.counts):
        x, tall = _LEFT + index * step, count * scale
        low, high = bins.edges[index], bins.edges[index + 1]
        words = f"{short_number(low)} to {short_number(high)} {unit}: {count:,} {items}".replace("  ", " ")
        # An invisible bar of full height carries the note, so that small bars can be pointed at too.
        full = element("rect", x=x, y=_TOP, width=step, height=HEIGHT - _TOP - _BOTTOM, class_="hit")
        bar = element(
            "rect", x=x + 1, y=HEIGHT - _BOTTOM - tall, width=max(step - 2, 1), height=tall, rx=2, class_="bar"
        )
        parts.append(element("g", note(words), full, bar))
    every = -(-len(bins.edges) // 7)
    for index in range(0, len(bins.edges), every):
        parts.append(text(_LEFT + index * step, HEIGHT - _BOTTOM + 16, short_number(bins.edges[index]), "middle"))
    parts.append(text(_LEFT + (WIDTH - _LEFT - _RIGHT) / 2, HEIGHT - 6, unit, "middle"))
    return figure(title, drawing(WIDTH, HEIGHT, title, parts))


def stacked_chart(title: str, kinds: Mapping[str, str], shares: NDArray[np.float64] | None, column: str) -> Markup:
    """Shares that add up to one, a column each.

    Args:
        title: heading.
        kinds: style class to name of each share, from the ground up.
        shares: [columns, kinds]; None draws ``n/a``.
        column: what one is.
    """
    if shares is None:
        return _absent(title)
    tall, wide = HEIGHT - _TOP - _BOTTOM, (WIDTH - _LEFT - _RIGHT) / len(shares)
    parts = _axis([0, 25, 50, 75, 100], tall / 100, ["0", "25%", "50%", "75%", "100%"])
    tops = HEIGHT - _BOTTOM - np.cumsum(shares, axis=1) * tall
    gap = 1.0 if wide > 6 else 0.0
    for kind, style in enumerate(kinds):
        boxes = "".join(
            f"M{_LEFT + place * wide:.1f} {tops[place, kind]:.2f}h{wide - gap:.2f}"
            f"v{shares[place, kind] * tall:.2f}h{gap - wide:.2f}z"
            for place in range(len(shares))
        )
        parts.append(element("path", d=boxes, class_=style))
    parts.append(text(_LEFT + (WIDTH - _LEFT - _RIGHT) / 2, HEIGHT - 18, column, "middle"))
    return figure(title, drawing(WIDTH, HEIGHT, title, parts) + key(kinds))


def pooled(counts: NDArray[np.int64], most: int = MOST_COLUMNS) -> tuple[NDArray[np.float64], int]:
    """Shares of a row's classes; neighbours are summed until at most `most` rows are left.

    Args:
        counts: [rows, kinds], no row empty.
        most: rows wanted at most.

    Returns:
        Shares [rows, kinds] and how many rows were summed into one.
    """
    together = -(-len(counts) // most)
    sums = np.add.reduceat(counts, np.arange(0, len(counts), together), axis=0)
    return sums / sums.sum(axis=1, keepdims=True), together


def _absent(title: str) -> Markup:
    """The place of a chart that has nothing to draw."""
    return figure(title, element("p", f"{ABSENT}: not recorded in this version", class_="none"))


def _axis(ticks: Sequence[float], scale: float, labels: Sequence[str]) -> list[Markup]:
    """Lines and numbers of an axis that starts at zero, `scale` pixels a unit."""
    parts = []
    for tick, words in zip(ticks, labels, strict=True):
        y = HEIGHT - _BOTTOM - tick * scale
        parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y))
        parts.append(text(_LEFT - 6, y + 4, words, "end"))
    return parts
