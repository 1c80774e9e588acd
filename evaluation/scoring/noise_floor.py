"""Noise floor of the annotation: methods that differ by less cannot be told apart by it.

PandaSet's cuboids are keyed every fifth frame and interpolated between, and some keys are mis-timed. So the motion of
a point with its cuboid as annotated and with the cuboid's smoothed track differ, though both read one annotation.
Background moves in neither reading: the floor says nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluation.metrics.flow import FlowAccumulator, FlowScores
from evaluation.metrics.flow_prediction import accumulate_flow
from evaluation.metrics.point_set import FlowTruth
from evaluation.scoring.results import GROUPS, ClipFloor, GroupFloor
from store_schema.clip import ClipRecord


@dataclass(frozen=True, slots=True)
class MeasuredFloor:
    """The floor of one clip, with the sums that groups of clips pool."""

    clip: ClipFloor
    flow: FlowAccumulator | None


def clip_floor(record: ClipRecord, seen: bool, truth: FlowTruth) -> MeasuredFloor:
    """Score the other reading of the cuboids as if it was a prediction, at the very points that are scored.

    A clip without points to score has an empty floor; one whose store lacks the other reading has none.
    """
    flow: FlowAccumulator | None
    if not len(truth.row):
        flow = FlowAccumulator()
    elif truth.other_flow is None:
        flow = None
    else:
        flow = accumulate_flow(truth.other_flow, truth)
    scores = None if flow is None else flow.result()
    return MeasuredFloor(ClipFloor(record.clip_id, seen, scores), flow)


def group_floors(floors: Sequence[MeasuredFloor]) -> Iterable[GroupFloor]:
    """The floors of all, seen and unseen clips, as far as there are any."""
    for group, wanted in GROUPS:
        members = [floor.flow for floor in floors if floor.clip.seen in wanted]
        if members:
            yield GroupFloor(group, len(members), _pooled(members))


def _pooled(members: Sequence[FlowAccumulator | None]) -> FlowScores | None:
    """None when a clip has none: the points would not be those the methods are scored on."""
    pooled = FlowAccumulator()
    for flow in members:
        if flow is None:
            return None
        pooled.merge(flow)
    return pooled.result()
