"""What differs between two stores of the same logs, down to the array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipelines.store_tools.diff import diff_versions
from pipelines.store_tools.diff_text import diff_lines
from store_schema.frame_store import ARRAYS, read_frame
from store_schema.version.dataset import resolve_version


def differences(one: Path, other: Path) -> Iterator[str]:
    """Arrays of stored frames that differ, then what differs between the versions; no line when all is the same.

    Raises:
        FileNotFoundError: a frame or the version is missing in one of them.
        CorruptFrameError, CorruptManifestError: what is stored is damaged.
    """
    gaps: dict[str, list[float]] = {}
    for path in sorted((one / "frames").glob("*/*/f[0-9]*")):
        number, folder = int(path.name[1:].split(".")[0]), path.parent.relative_to(one)
        left, right = (read_frame(store / folder, number) for store in (one, other))
        if left.attributes.to_json() != right.attributes.to_json():
            gaps.setdefault("attributes", []).append(-1.0)
        for name in ARRAYS:
            a, b = getattr(left.arrays, name), getattr(right.arrays, name)
            if a.tobytes() != b.tobytes():
                gap = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) if a.shape == b.shape else -1.0
                gaps.setdefault(name, []).append(gap)
    for name, values in gaps.items():
        by = "another shape or text" if max(values) < 0 else f"{max(values):.3g} at most"
        yield f"frame store: {name} differs in {len(values)} frames, by {by}"
    ours, theirs = resolve_version(one), resolve_version(other)
    if ours != theirs:
        yield from diff_lines(diff_versions(one, ours, theirs, other))
