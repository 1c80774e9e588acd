"""Scores of one clip, and how the scores of all clips are aggregated to one evaluation.

Clips may be scored by several processes: `ClipScores` travel between them as JSON and lose no bit on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.methods.method import MethodInfo
from evaluation.metrics.flow import FlowAccumulator
from evaluation.scoring.config import DEFAULTS, ScoringConfig
from evaluation.scoring.noise_floor import MeasuredFloor, group_floors
from evaluation.scoring.results import (
    GROUPS,
    ClipRow,
    Evaluation,
    FrameRow,
    Group,
    MethodSummary,
    summarise_images,
    total,
)
from store_schema.json_dataclass import from_json, to_json


@dataclass(frozen=True, slots=True, eq=False)
class MethodScores:
    """One method on one clip, with what the groups pool."""

    row: ClipRow
    frames: tuple[FrameRow, ...]
    flow: FlowAccumulator | None
    """None: the method gives none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipScores:
    """Every method on one clip."""

    clip_id: str
    protocol: str
    """The protocol in words, with the clip's frames."""
    width: int
    """Of the scored views, pixels; so is `height`."""
    height: int
    methods: tuple[MethodScores, ...]
    """In the order the methods were named."""
    floor: MeasuredFloor
    lpips: str
    """What LPIPS was measured with; empty when it was not."""
    notes: tuple[str, ...]
    """What is n/a and why."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON value; `from_json` gives the same back to the last bit."""
        value: dict[str, Any] = to_json(self)
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ClipScores:
        """What `to_json` made.

        Raises:
            ValueError: it is something else, or of another version of this package.
        """
        return from_json(cls, value)


def aggregate(
    scores: Iterable[ClipScores],
    methods: Sequence[MethodInfo],
    config: ScoringConfig = DEFAULTS,
) -> Evaluation:
    """Make one evaluation of the scores of its clips.

    Sums of floats depend on their order: the same scores in the same order give the same bits.

    Args:
        scores: Scores of each clip, as `evaluation.scoring.loop.score_clips` yields them with these settings.
        methods: What was compared.
        config: How, for the record.

    Raises:
        ValueError: there is no clip, a clip comes twice, clips differ in size, or one was not scored by these methods.
    """
    clips = _checked(scores, [method.name for method in methods])
    if not clips:
        raise ValueError("there is no clip to evaluate: check the split and the clip ids")
    return Evaluation(
        protocol=clips[0].protocol,
        width=clips[0].width,
        height=clips[0].height,
        backend=config.backend,
        methods=tuple(methods),
        summaries=tuple(_summaries(clips, [method.name for method in methods])),
        clips=tuple(result.row for clip in clips for result in clip.methods),
        frames=tuple(row for clip in clips for result in clip.methods for row in result.frames),
        notes=tuple(dict.fromkeys(note for clip in clips for note in clip.notes)),
        points=config.points,
        floors=tuple(group_floors([clip.floor for clip in clips])),
        lpips=next((clip.lpips for clip in reversed(clips) if clip.lpips), ""),
        dataset_options=config.dataset_options,
        clip_floors=tuple(clip.floor.clip for clip in clips),
        imaging=config.imaging,
    )


def refuse_second(clip_id: str, done: Collection[str]) -> None:
    """Raise a ValueError when the clip is among those done."""
    if clip_id in done:
        raise ValueError(f"clip {clip_id} comes twice, so its frames and points would count double: name it once")


def refuse_other_sizes(clip_id: str, sizes: Collection[tuple[int, int]]) -> None:
    """Raise a ValueError when there is more than one (width, height)."""
    if len(sizes) > 1:
        raise ValueError(f"clip {clip_id}: views of one evaluation must share one size, got {sorted(sizes)}")


def _checked(scores: Iterable[ClipScores], names: list[str]) -> list[ClipScores]:
    clips: dict[str, ClipScores] = {}
    for clip in scores:
        refuse_second(clip.clip_id, clips)
        refuse_other_sizes(clip.clip_id, {(each.width, each.height) for each in (*clips.values(), clip)})
        if (scored := [result.row.method for result in clip.methods]) != names:
            raise ValueError(f"clip {clip.clip_id} was scored by methods {scored}, the evaluation compares {names}")
        clips[clip.clip_id] = clip
    return list(clips.values())


def _summaries(clips: Sequence[ClipScores], names: Sequence[str]) -> Iterable[MethodSummary]:
    scored = [result for clip in clips for result in clip.methods]
    for group, wanted in GROUPS:
        for name in names:
            members = [result for result in scored if result.row.method == name and result.row.seen in wanted]
            if members:
                yield _summary(name, group, members)


def _summary(name: str, group: Group, members: Sequence[MethodScores]) -> MethodSummary:
    frames = [row for result in members for row in result.frames]
    flow = FlowAccumulator()
    for result in members:
        if result.flow is not None:
            flow.merge(result.flow)
    known = all(result.flow is not None for result in members)
    return MethodSummary(
        method=name,
        group=group,
        clips=len(members),
        interpolation=summarise_images(frames, "interpolation"),
        future=summarise_images(frames, "future"),
        flow=flow.result() if known else None,
        flow_nearest=total(result.row.flow_nearest for result in members),
        reconstruct_seconds=_mean([result.row.reconstruct_seconds for result in members]),
        render_seconds=_mean([result.row.render_seconds for result in members]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """None when one is not known."""
    added = total(values)
    return None if added is None else added / len(values)
