"""Does the loader's memory grow? A line through its resident size over a thousand samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SAMPLES, EVERY = 1_000, 50
SETTLED = 200
"""Samples after which allocators and caches should have what they need."""


def memory_result(rows: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Summary of ``(sample, resident MB)``: where it starts, is after 100, ends, and kB a sample after `SETTLED`."""
    late = np.array([row for row in rows if row[0] >= SETTLED], dtype=np.float64)
    if len(late) < 2:
        raise ValueError(f"{len(late)} readings after sample {SETTLED}: a slope needs two")
    slope = np.polyfit(late[:, 0], late[:, 1], 1)[0]
    return {
        "samples": rows[-1][0],
        "start_mb": rows[0][1],
        "after_100_mb": next(size for number, size in rows if number >= 100),
        "end_mb": rows[-1][1],
        "slope_kb_per_sample": float(slope) * 1e3,
    }
