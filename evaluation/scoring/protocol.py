"""What is scored, in words, and which clips the training has seen."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import get_args

from evaluation.metrics.point_set import P0, PointSet
from evaluation.scoring.imaging import IDEAL, Imaging
from store_schema.clip import ClipRecord, Setting

PROTOCOL = (
    "Each clip is {input_count} input frames ({inputs}) of 10 Hz driving. The frames between them ({interpolation}) "
    "score interpolation, the frames after them ({future}) score prediction of the future; the two are never mixed. "
    "Every view is rendered at its own time stamp. Scene flow is scored on the input frames' {points}. "
    "Image metrics are averaged over frames, flow metrics pooled over points."
)
_CLIP_ID = re.compile(rf"(?P<log>.+)-(?P<setting>{'|'.join(get_args(Setting))})-s(?P<first>\d+)")
_CLIP_FRAMES = {"train_interpolation": 11, "train_future": 16, "evaluation": 16}


def protocol_in_words(record: ClipRecord, points: PointSet = P0, imaging: Imaging = IDEAL) -> str:
    """The protocol of the report, with the frames of an actual clip, the points of scene flow, and what is done to
    renderings before they are scored.
    """
    words = PROTOCOL.format(
        input_count=len(record.input_frames),
        inputs=_listed(record.input_frames),
        interpolation=_listed(record.interpolation_frames),
        future=_listed(record.future_frames),
        points=points.in_words,
    )
    return f"{words} {imaging.in_words}".rstrip()


def frames_of(clip_id: str) -> tuple[str, range]:
    """Log and log frames that a clip id names.

    Raises:
        ValueError: the id does not read ``{log}-{setting}-s{first frame}``.
    """
    match = _CLIP_ID.fullmatch(clip_id)
    if match is None:
        raise ValueError(f"clip id {clip_id!r} does not read {{log}}-{{setting}}-s{{first frame}}")
    first = int(match["first"])
    return match["log"], range(first, first + _CLIP_FRAMES[match["setting"]])


def seen_in_training(record: ClipRecord, seen_clips: Collection[str]) -> bool:
    """True when the clip shares a frame with a clip of the training: clips of one log overlap each other."""
    own = record.log_frames
    for clip_id in seen_clips:
        log, frames = frames_of(clip_id)
        if log == record.log_id and frames.start <= own[-1] and own[0] < frames.stop:
            return True
    return False


def _listed(frames: tuple[int, ...]) -> str:
    return ", ".join(map(str, frames)) if frames else "none"
