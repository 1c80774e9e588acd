"""Format numbers of a training run for people, whatever was recorded."""

from __future__ import annotations

_FOREVER = 1e10
"""s; no run lasts that long."""


def shown(value: float, digits: int) -> str:
    """A number with so many decimals; n/a for NaN."""
    if value != value:
        return "n/a"
    return f"{value:,.{digits}f}" if abs(value) < 1e9 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share of a whole."""
    return f"{shown(100.0 * share, 1)}%"


def hours(seconds: float) -> str:
    """A duration; n/a for one that cannot be."""
    if not abs(seconds) < _FOREVER:
        return "n/a"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
