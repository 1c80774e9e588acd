"""What is scored, in words."""

from __future__ import annotations

from evaluation.metrics.point_set import P0, PointSet
from evaluation.scoring.imaging import IDEAL, Imaging
from store_schema.clip import ClipRecord

PROTOCOL = (
    "Each clip is {input_count} input frames ({inputs}) of 10 Hz driving. The frames between them ({interpolation}) "
    "score interpolation, the frames after them ({future}) score prediction of the future; the two are never mixed. "
    "Every view is rendered at its own time stamp. Scene flow is scored on the input frames' {points}. "
    "Image metrics are averaged over frames, flow metrics pooled over points."
)


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


def _listed(frames: tuple[int, ...]) -> str:
    return ", ".join(map(str, frames)) if frames else "none"
