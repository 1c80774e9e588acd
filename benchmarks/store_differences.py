"""What differs between two stores of the same logs, down to the array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from store_schema.dataset import open_dataset
from store_schema.frame_store import ARRAYS, read_frame


def differences(one: Path, other: Path) -> Iterator[str]:
    """Arrays of stored frames, clips' members and the config that differ, a line each; none when all is the same.

    Raises:
        FileNotFoundError: a frame or the version is missing in one of them.
        CorruptFrameError, CorruptManifestError: what is stored is damaged.
    """
    gaps: dict[str, list[float]] = {}
    for path in sorted((one / "frames").glob("*/*/f[0-9]*")):
        number, folder = int(path.name[1:].split(".")[0]), path.parent.relative_to(one)
        left, right = (read_frame(store / folder, number) for store in (one, other))
        if left.attributes != right.attributes:
            gaps.setdefault("attributes", []).append(-1.0)
        for name in ARRAYS:
            a, b = getattr(left.arrays, name), getattr(right.arrays, name)
            if a.tobytes() != b.tobytes():
                gap = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) if a.shape == b.shape else -1.0
                gaps.setdefault(name, []).append(gap)
    for name, values in gaps.items():
        by = "another shape or text" if max(values) < 0 else f"{max(values):.3g} at most"
        yield f"frame store: {name} differs in {len(values)} frames, by {by}"
    yield from _version_differences(one, other)


def _version_differences(one: Path, other: Path) -> Iterator[str]:
    left, right = open_dataset(one), open_dataset(other)
    ours, theirs = (
        {(clip, name): member.blake3 for clip, held in dataset.members.items() for name, member in held.items()}
        for dataset in (left, right)
    )
    if only := sorted(clip for clip, _ in ours.keys() ^ theirs.keys()):
        yield f"clips: {sorted(set(only))[:5]} have members that the other version has not"
    if names := sorted({name for clip, name in ours.keys() & theirs.keys() if ours[clip, name] != theirs[clip, name]}):
        yield f"clips: members that differ: {names}"
    if left.manifest.config != right.manifest.config:
        yield f"manifest: config {dict(left.manifest.config)} against {dict(right.manifest.config)}"
