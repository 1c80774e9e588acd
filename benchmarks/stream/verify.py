"""Do all sides deliver the same? A few samples of each against the flat file and against the images it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.stream.rounds import Timed
from benchmarks.stream.sample import Ready, Task, delivered, fingerprint
from store_schema.version.dataset import Dataset

SAMPLES = 3


def check_sides(sides: Mapping[str, Timed], ready: Ready, dataset: Dataset) -> int:
    """Samples compared.

    Raises:
        SystemExit: a side delivers something else.
    """
    frames = {record.clip_id: record.target_frames for record in dataset.records}
    found = 0
    for name, timed in sides.items():
        for sample in timed.side.ask(do="check", count=SAMPLES)["samples"]:
            if name == "ours":  # says frames, and has the scene in a form of its own
                sample["views"] = [frames[sample["clip"]].index(frame) for frame in sample["views"]]
            expected = expected_sample(ready, sample["clip"], sample["views"])
            if wrong := [key for key, value in sample.items() if value != expected[key]]:
                raise SystemExit(f"{name}, {sample['clip']}, views {sample['views']}: {wrong} are not what was written")
            found += 1
    return found


def expected_sample(ready: Ready, clip: str, views: list[int]) -> dict[str, Any]:
    """Fingerprint of a sample read plainly from the flat file."""
    columns = ready.columns(next(row for row in ready.samples if row.clip == clip))
    task = Task(ready.width, ready.height, len(views), ready.views)
    return fingerprint(delivered(task, clip, views, columns.__getitem__))
