"""Values as people read them; what is absent is n/a."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ABSENT = "n/a"


def size_text(size: float | None) -> str:
    """Bytes in decimal units: ``40.7 MB``."""
    if size is None:
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def count_text(count: int | None) -> str:
    """A count with thousands apart."""
    return ABSENT if count is None else f"{count:,}"


def plural(count: int, thing: str) -> str:
    """``1 clip``, ``2,000 clips``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def share_text(part: int | None, whole: int | None) -> str:
    """`part` of `whole` in percent, enough digits that a small share is not shown as none."""
    if part is None or not whole:
        return ABSENT
    percent = 100 * part / whole
    return f"{percent:.1f}%" if percent >= 1 or not part else f"{percent:.2g}%"


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves of nested JSON by dotted path: ``{"a": {"b": [1]}}`` is ``{"a.b.0": 1}``.

    An empty list or mapping is a leaf, and so is a list of plain values.
    """
    if isinstance(value, Mapping):
        items: list[tuple[str, Any]] = [(str(key), value[key]) for key in sorted(value, key=str)]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {path: list(value) if isinstance(value, tuple) else value}
    if not items:
        return {path: {}} if path else {}
    leaves = {}
    for key, item in items:
        leaves.update(flatten(item, f"{path}.{key}" if path else key))
    return leaves


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
