"""Which clips of a dataset version are scored."""

from __future__ import annotations

from collections.abc import Sequence

from store_schema.clip import ClipRecord
from store_schema.version.dataset import Dataset


def chosen_records(
    dataset: Dataset, clips: Sequence[str], split: str, max_clips: int | None = None
) -> list[ClipRecord]:
    """The named clips, or without names the evaluation clips of a split ("all" takes every split).

    Raises:
        ValueError: a name is unknown, or nothing is left.
    """
    by_id = {record.clip_id: record for record in dataset.records}
    if clips:
        if unknown := [clip for clip in clips if clip not in by_id]:
            raise ValueError(f"no clip {unknown} in version {dataset.version[:12]}; it has {sorted(by_id)[:20]}")
        records = [by_id[clip] for clip in dict.fromkeys(clips)]
    else:
        records = list(dataset.select(split=None if split == "all" else split, setting="evaluation"))
    if not records:
        there = sorted({f"{record.split}/{record.setting}" for record in dataset.records})
        raise ValueError(
            f"version {dataset.version[:12]} has no evaluation clip of split {split!r}, it has {there}: "
            "use --split all or name --clips"
        )
    return records[:max_clips]
