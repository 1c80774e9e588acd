"""What each number of the report means: name, unit, formula, source; metrics as their table says."""

# ruff: noqa: RUF001 - mathematical signs are meant
from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from evaluation.metrics.metric import Kind
from evaluation.metrics.table import metrics_of

Definition = tuple[str, str, str]


def _metrics(kind: Kind) -> Iterator[Definition]:
    """Metrics of one formula, which follow each other in the table, are explained together."""
    for (formula, source, unit), group in groupby(metrics_of(kind), key=lambda m: (m.formula, m.source, m.unit)):
        yield ", ".join(metric.symbol for metric in group), unit, f"{formula} Source: {source}."


DEFINITIONS: tuple[Definition, ...] = (
    *_metrics("image"),
    (
        "Moving regions",
        "",
        "Pixels of projected ground-truth cuboids that move ≥ 0.05 m to the next sweep; frames without such a pixel "
        "do not count.",
    ),
    (
        "e, f",
        "m",
        "e = predicted − true motion of a point from its sweep to the next, without ego motion; f the true motion. "
        "Predicted motion = velocity of the point's Gaussian at the point's time × time between the two sweeps. "
        "Which points are scored stands under the flow tables.",
    ),
    *_metrics("flow"),
    (
        "no Gaussian",
        "",
        "Scored points that no Gaussian was made from (cropped, thinned out or left out): they take the velocity of "
        "the nearest Gaussian of their frame.",
    ),
    (
        "Annotation noise floor",
        "",
        "The score, at the same points, of a perfect follower of the other reading of the annotation: the smoothed "
        "tracks, or the cuboids as annotated where smoothed tracks are the truth. The cuboids are keyed every fifth "
        "frame and interpolated between, so the two differ. Methods whose scores differ by less than the floor cannot "
        "be told apart by this annotation; for Acc, where higher is better, it is 1 − floor that counts. It says "
        "nothing about background points: both readings are 0 there, so EPE-BS has no floor, and these points dilute "
        "the figures over all points.",
    ),
    (
        "Pooling",
        "",
        "Flow metrics pool all points of all clips before they divide. An empty set is n/a, never 0.",
    ),
)
"""(name, unit or nothing, meaning) in reading order."""
