"""Histograms and stacked shares as inline SVG; colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from pipelines.pages.readable import ABSENT, Histogram

WIDTH, HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 24, 12, 42
MOST_COLUMNS = 200
"""More clips than this share a column of the stacked chart."""


def histogram_chart(title: str, bins: Histogram | None, unit: str, items: str = "clips") -> str:
    """A histogram as a figure; ``n/a`` when there is nothing to count.

    Args:
        title: heading.
        bins: what to draw.
        unit: of the values, for the horizontal axis.
        items: what is counted, for the vertical axis.
    """
    if bins is None:
        return _figure(title, f'<p class="na">{ABSENT}: not recorded in this version</p>')
    ticks = _count_ticks(max(bins.counts))
    step = (WIDTH - _LEFT - _RIGHT) / len(bins.counts)
    scale = (HEIGHT - _TOP - _BOTTOM) / ticks[-1]
    parts = _frame(ticks, scale, [f"{tick:,}" for tick in ticks])
    for index, count in enumerate(bins.counts):
        x, tall = _LEFT + index * step, count * scale
        low, high = bins.edges[index], bins.edges[index + 1]
        note = f"{_short(low)} to {_short(high)} {unit}: {count:,} {items}".replace("  ", " ")
        # An invisible bar of full height carries the note, so that small bars can be pointed at too.
        parts.append(
            f"<g><title>{escape(note)}</title>"
            f'<rect x="{x:.1f}" y="{_TOP}" width="{step:.1f}" height="{HEIGHT - _TOP - _BOTTOM}" class="hit"/>'
            f'<rect x="{x + 1:.1f}" y="{HEIGHT - _BOTTOM - tall:.1f}" width="{max(step - 2, 1):.1f}" '
            f'height="{tall:.1f}" rx="2" class="bar"/></g>'
        )
    every = -(-len(bins.edges) // 7)
    for index in range(0, len(bins.edges), every):
        parts.append(_label(_LEFT + index * step, HEIGHT - _BOTTOM + 16, _short(bins.edges[index]), "middle"))
    parts.append(_label(_LEFT + (WIDTH - _LEFT - _RIGHT) / 2, HEIGHT - 6, unit, "middle"))
    return _figure(title, _svg(title, parts))


def stacked_chart(title: str, kinds: Mapping[str, str], shares: NDArray[np.float64] | None, note: str) -> str:
    """Shares that add up to one, a column each.

    Args:
        title: heading.
        kinds: style class to name of each share, from the ground up.
        shares: [columns, kinds]; None draws ``n/a``.
        note: what a column is.
    """
    if shares is None:
        return _figure(title, f'<p class="na">{ABSENT}: not recorded in this version</p>')
    tall, wide = HEIGHT - _TOP - _BOTTOM, (WIDTH - _LEFT - _RIGHT) / len(shares)
    parts = _frame([0, 25, 50, 75, 100], tall / 100, ["0", "25%", "50%", "75%", "100%"])
    tops = HEIGHT - _BOTTOM - np.cumsum(shares, axis=1) * tall
    gap = 1.0 if wide > 6 else 0.0
    for kind, name in enumerate(kinds):
        boxes = "".join(
            f"M{_LEFT + column * wide:.1f} {tops[column, kind]:.2f}h{wide - gap:.2f}"
            f"v{shares[column, kind] * tall:.2f}h{gap - wide:.2f}z"
            for column in range(len(shares))
        )
        parts.append(f'<path d="{boxes}" class="{name}"/>')
    parts.append(_label(_LEFT + (WIDTH - _LEFT - _RIGHT) / 2, HEIGHT - 18, note, "middle"))
    key = "".join(f'<span><i class="{name}"></i>{escape(text)}</span>' for name, text in kinds.items())
    return _figure(title, _svg(title, parts) + f'<p class="key">{key}</p>')


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


def _frame(ticks: Sequence[int], scale: float, labels: Sequence[str]) -> list[str]:
    parts = []
    for tick, text in zip(ticks, labels, strict=True):
        y = HEIGHT - _BOTTOM - tick * scale
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_label(_LEFT - 6, y + 4, text, "end"))
    return parts


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, parts: Sequence[str]) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _figure(title: str, body: str) -> str:
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{body}</figure>'


def _count_ticks(most: int) -> list[int]:
    """Zero and up to five round numbers, the last not below `most`."""
    step = next(f * 10**p for p in range(12) for f in (1, 2, 5) if most <= 5 * f * 10**p)
    return list(range(0, step * -(-most // step) + 1, step))


def _short(value: float) -> str:
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{sign}"
    return f"{value:.4g}"
