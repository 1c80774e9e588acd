"""Which frames of which logs a training has used: a clip that shares one of them is no test of the network.

The trainer records them in ``run.json``, so that "seen" does not depend on the protocol that cut the clips.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

from store_schema.clip import ClipRecord, Setting
from store_schema.json_dataclass import from_json, to_json
from store_schema.protocol import PAPER_PROTOCOL

CLIPS_SEEN, FRAMES_SEEN = "clips_seen", "frames_seen"
"""Keys of ``run.json``: ids of the clips, and `SeenFrames.frames_seen`."""
_CLIP_ID = re.compile(rf"(?P<log>.+)-(?P<setting>{'|'.join(get_args(Setting))})-s(?P<first>\d+)")


@dataclass(frozen=True, slots=True)
class SeenFrames:
    """Frames that a training has used, inputs and targets and all between them."""

    frames_seen: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """First and last frame of each stretch, ascending and apart, by log id."""

    def __post_init__(self) -> None:
        for log_id, stretches in self.frames_seen.items():
            ends = [end for stretch in stretches for end in stretch]
            apart = all(first > last for (_, last), (first, _) in pairwise(stretches))
            if not ends or ends != sorted(ends) or ends[0] < 0 or not apart:
                raise ValueError(f"frames of log {log_id} must be stretches (first, last), ascending, got {stretches}")

    @classmethod
    def of_clips(cls, records: Iterable[ClipRecord]) -> SeenFrames:
        """Frames that clips span."""
        return cls.of_spans((record.log_id, record.log_frames[0], record.log_frames[-1]) for record in records)

    @classmethod
    def of_spans(cls, spans: Iterable[tuple[str, int, int]]) -> SeenFrames:
        """Frames of spans (log id, first, last) in any order, overlapping or not."""
        joined: dict[str, list[tuple[int, int]]] = {}
        for log_id, first, last in sorted(spans):
            stretches = joined.setdefault(log_id, [])
            if stretches and first <= stretches[-1][1] + 1:
                first, last = stretches[-1][0], max(last, stretches.pop()[1])
            stretches.append((first, last))
        return cls({log_id: tuple(stretches) for log_id, stretches in joined.items()})

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Log and number of each frame."""
        for log_id, stretches in self.frames_seen.items():
            yield from ((log_id, frame) for first, last in stretches for frame in range(first, last + 1))

    def has_seen(self, record: ClipRecord) -> bool:
        """True when the clip spans a frame that the training has used: clips of one log overlap each other."""
        first, last = record.log_frames[0], record.log_frames[-1]
        return any(begin <= last and first <= end for begin, end in self.frames_seen.get(record.log_id, ()))

    def to_json(self) -> dict[str, Any]:
        """What ``run.json`` holds under `FRAMES_SEEN`."""
        value: dict[str, Any] = to_json(self)[FRAMES_SEEN]
        return value


NOTHING_SEEN = SeenFrames()


def seen_frames(run_record: Mapping[str, Any]) -> SeenFrames:
    """The frames that a run was trained on, by its ``run.json``; none without a record.

    Raises:
        ValueError: the record does not say it as this version or one before it does.
    """
    if FRAMES_SEEN in run_record:
        try:
            return from_json(SeenFrames, {FRAMES_SEEN: run_record[FRAMES_SEEN]})
        except ValueError as error:
            raise ValueError(f"run.json: {error}; the run was recorded by another version of this package") from error
    return SeenFrames.of_spans(_span_of_name(str(clip_id)) for clip_id in run_record.get(CLIPS_SEEN, ()))


def _span_of_name(clip_id: str) -> tuple[str, int, int]:
    """Log, first and last frame of a clip by its id alone.

    Only for runs that were recorded before `FRAMES_SEEN`: all their clips were cut by the paper's protocol, so the name
    of a setting says how long a clip is.
    """
    match = _CLIP_ID.fullmatch(clip_id)
    if match is None:
        raise ValueError(
            f"run.json says nothing of the frames that clip {clip_id!r} spans: its id does not read "
            "{log}-{setting}-s{first frame}"
        )
    setting: Setting = next(each for each in get_args(Setting) if each == match["setting"])
    first = int(match["first"])
    return match["log"], first, first + PAPER_PROTOCOL.num_frames(setting) - 1
