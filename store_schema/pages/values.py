"""Numbers, sizes, shares and times as people read them; what is absent is n/a."""

from __future__ import annotations

import math
from numbers import Integral

ABSENT = "n/a"
_LONGEST_S = 1e10
"""No run lasts that long."""
_MOST_WRITTEN_OUT = 1e9
"""Fractions beyond are written with an exponent; whole numbers are counts and always written out."""


def number(value: float | None, digits: int = 0) -> str:
    """A count with thousands apart, or a number with so many decimals; n/a for None and NaN."""
    if value is None or value != value:
        return ABSENT
    if isinstance(value, Integral):
        return f"{value:,}"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.{digits}f}" if abs(value) < _MOST_WRITTEN_OUT else f"{value:.3g}"


def size_text(size: float | None) -> str:
    """Bytes in decimal units: ``40.7 MB``."""
    if size is None:
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def plural(count: int, thing: str) -> str:
    """``1 clip``, ``2,000 clips``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def share_text(part: float | None, whole: float | None) -> str:
    """`part` of `whole` in percent, enough digits that a small share is not shown as none."""
    if part is None or not whole:
        return ABSENT
    percent = 100 * part / whole
    return f"{number(percent, 1)}%" if percent >= 1 or not part else f"{percent:.2g}%"


def duration(seconds: float) -> str:
    """``9 s``, ``12 min``, ``3 h 05 min``; n/a for a time that cannot be."""
    if not abs(seconds) < _LONGEST_S:
        return ABSENT
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
