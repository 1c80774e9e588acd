"""Histograms: counts between round edges, for a page or a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between round edges; the last bin holds its upper edge too."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


def histogram(values: Sequence[float], most_bins: int = 12, narrowest: float = 0.0) -> Histogram | None:
    """Histogram with edges on round numbers; None without values.

    Args:
        values: finite numbers.
        most_bins: bins are as narrow as this allows.
        narrowest: no bin is narrower than this power of ten; 1 for counts.
    """
    if not len(values):
        return None
    low, high = float(min(values)), float(max(values))
    # A few values in many bins are a row of empty bins.
    most_bins = min(most_bins, max(3, 2 * math.isqrt(len(values))))
    power = 10.0 ** math.floor(math.log10(max(high - low, abs(high) * 0.05, 1e-9) / most_bins))
    power = max(power, narrowest)
    step = next(step for step in power * np.array([1, 2, 5, 10, 20]) if _bins(low, high, step) <= most_bins)
    first = math.floor(low / step)
    edges = np.round(step * np.arange(first, first + _bins(low, high, step) + 1), 12)
    counts, _ = np.histogram(values, edges)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _bins(low: float, high: float, step: float) -> int:
    return max(1, math.ceil(high / step) - math.floor(low / step))
