"""The tables of an evaluation as text cells; `evaluation.report.table_text` prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from evaluation.metrics.flow import FlowScores
from evaluation.metrics.table import BY_KEY, V_RMSE_FORMULA, quantities
from evaluation.report.columns import (
    FLOW_COLUMNS,
    FLOW_SUMMARY_COLUMNS,
    NO_GAUSSIAN,
    Column,
    HasFlow,
    bucket_columns,
    metric_column,
)
from evaluation.scoring.results import ClipRow, Evaluation, Group, ImageSummary, MethodSummary, RegionSummary
from store_schema.pages.values import number

T = TypeVar("T")
FLOOR = "annotation noise floor"
_FLOOR_NOTE = (
    "the score of a perfect follower of the other reading of the annotation ({other}). Methods whose scores differ by "
    "less than it cannot be told apart by this annotation; for Acc (higher is better) it is 1 − floor that counts. It "  # noqa: RUF001
    "says nothing about background points, which dilute the figures over all points."
)
_OTHER_READING = {"annotated": "the smoothed tracks", "smoothed": "the cuboids as annotated"}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A line of a table: its labels, cells, and which cells are the best among the rows of one group of clips."""

    labels: tuple[str, ...]
    cells: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _FloorLine:
    """The annotation noise floor as a row with scene flow."""

    flow: FlowScores
    flow_nearest: int | None = None


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """A table of finished text."""

    title: str
    label_heads: tuple[str, ...]
    heads: tuple[str, ...]
    units: tuple[str, ...]
    """Unit of each column, empty for a pure number."""
    groups: tuple[str, ...]
    """Shared heading of each column."""
    rows: tuple[ScoreRow, ...]
    notes: tuple[str, ...] = ()
    """What the reader has to know of all rows."""


def image_columns(role: Literal["interpolation", "future"]) -> list[Column[MethodSummary | ClipRow]]:
    """Every image metric on the full image and in moving regions, with the counts it rests on."""
    columns: list[Column[MethodSummary | ClipRow]] = []
    for moving, title in ((False, "Full image"), (True, "Moving regions")):

        def count(name: str, moving: bool = moving) -> Callable[[MethodSummary | ClipRow], int]:
            return lambda row: getattr(_region(row, role, moving), name)

        shown = [each for each in quantities("tables") if (each.role, each.moving) == (role, moving)]
        columns += [metric_column(each, each.metric.symbol, title) for each in shown]
        columns += [
            Column("frames", "", count("frames"), group=title),
            Column("LiDAR px", "", count("depth_pixels"), group=title),
        ]
    return columns


def _region(row: MethodSummary | ClipRow, role: Literal["interpolation", "future"], moving: bool) -> RegionSummary:
    images: ImageSummary = getattr(row, role)
    return images.moving if moving else images.full


def _image_summary_columns(role: Literal["interpolation", "future"]) -> list[Column[MethodSummary | ClipRow]]:
    title = role.capitalize()
    shown = [each for each in quantities("summary") if each.role == role]
    columns: list[Column[MethodSummary | ClipRow]] = [metric_column(each, each.symbol, title) for each in shown]
    columns.append(Column("frames", "", lambda row: _region(row, role, False).frames, group=title))
    return columns


SUMMARY_COLUMNS: list[Column[MethodSummary | ClipRow]] = [
    *_image_summary_columns("interpolation"),
    *_image_summary_columns("future"),
    *FLOW_SUMMARY_COLUMNS,
]
"""The one table that is printed and that opens the report."""


COST_COLUMNS: list[Column[ClipRow]] = [
    Column("Gaussians", "", lambda r: r.gaussians),
    Column("reconstruct", "s", lambda r: r.reconstruct_seconds, 2, "lower"),
    Column("render", "s/view", lambda r: r.render_seconds, 3, "lower"),
]
"""What a clip costs."""


def summary_table(title: str, evaluation: Evaluation, columns: Sequence[Column[MethodSummary | ClipRow]]) -> ScoreTable:
    """One row for each group of clips and method; groups that hold the same clips are shown once."""
    rows: list[ScoreRow] = []
    for _, members in _groups(evaluation):
        rows += _rows(_group_labels(members), members, columns)
    return _table(title, ("method", "clips"), columns, rows, _image_notes(evaluation, columns))


def flow_table(title: str, evaluation: Evaluation, columns: Sequence[Column[HasFlow]]) -> ScoreTable:
    """As `summary_table`, with the annotation noise floor as the last row of each group of clips."""
    floors = {floor.group: floor.flow for floor in evaluation.floors}
    rows: list[ScoreRow] = []
    for group, members in _groups(evaluation):
        labels = _group_labels(members)
        rows += _rows(labels, members, columns)
        rows.append(_floor_row((FLOOR, *labels[0][1:]), floors.get(group), columns))
    return _table(title, ("method", "clips"), columns, rows, _flow_notes(evaluation, columns))


def clip_table(title: str, evaluation: Evaluation, columns: Sequence[Column[ClipRow]]) -> ScoreTable:
    """One row for each clip and method."""
    rows: list[ScoreRow] = []
    for _, members in _clips(evaluation):
        rows += _rows(_clip_labels(members), members, columns)
    return _table(title, ("clip", "training", "method"), columns, rows, _image_notes(evaluation, columns))


def clip_flow_table(title: str, evaluation: Evaluation, columns: Sequence[Column[HasFlow]]) -> ScoreTable:
    """As `clip_table`, with the annotation noise floor as the last row of each clip."""
    floors = {floor.clip_id: floor.flow for floor in evaluation.clip_floors}
    rows: list[ScoreRow] = []
    for clip_id, members in _clips(evaluation):
        labels = _clip_labels(members)
        rows += _rows(labels, members, columns)
        rows.append(_floor_row((*labels[0][:2], FLOOR), floors.get(clip_id), columns))
    return _table(title, ("clip", "training", "method"), columns, rows, _flow_notes(evaluation, columns))


def all_tables(evaluation: Evaluation) -> list[ScoreTable]:
    """Every summary table, the short one first."""
    return [summary_table("Summary", evaluation, SUMMARY_COLUMNS), *detail_tables(evaluation)]


def detail_tables(evaluation: Evaluation) -> list[ScoreTable]:
    """Every quantity with its count: images, then scene flow."""
    return [
        summary_table("Interpolation", evaluation, image_columns("interpolation")),
        summary_table("Future", evaluation, image_columns("future")),
        flow_table("Scene flow on the input frames", evaluation, FLOW_COLUMNS),
        flow_table("Scene flow by class (S static, D dynamic normalised)", evaluation, bucket_columns()),
    ]


def _groups(evaluation: Evaluation) -> Iterable[tuple[Group, list[MethodSummary]]]:
    groups = {s.group for s in evaluation.summaries}
    shown: Iterable[Group] = ("unseen", "seen", "all") if {"seen", "unseen"} <= groups else (groups - {"all"})
    for group in shown:
        yield group, [s for s in evaluation.summaries if s.group == group]


def _group_labels(members: Sequence[MethodSummary]) -> list[tuple[str, ...]]:
    return [(s.method, f"{s.group} ({s.clips})") for s in members]


def _clips(evaluation: Evaluation) -> Iterable[tuple[str, list[ClipRow]]]:
    for clip_id in dict.fromkeys(row.clip_id for row in evaluation.clips):
        yield clip_id, [row for row in evaluation.clips if row.clip_id == clip_id]


def _clip_labels(members: Sequence[ClipRow]) -> list[tuple[str, ...]]:
    return [(row.clip_id, "seen" if row.seen else "unseen", row.method) for row in members]


def _floor_row(labels: tuple[str, ...], flow: FlowScores | None, columns: Sequence[Column[HasFlow]]) -> ScoreRow:
    cells = tuple(
        number(column.value(_FloorLine(flow)) if flow is not None and column.in_floor else None, column.digits)
        for column in columns
    )
    return ScoreRow(labels, cells, (False,) * len(cells))


def _image_notes(evaluation: Evaluation, columns: Sequence[Column[T]]) -> tuple[str, ...]:
    """The network of LPIPS, where its numbers stand, what renderings went through, and what of the dataset is not the
    protocol's.
    """
    shown = evaluation.lpips and any(column.name == BY_KEY["lpips"].symbol for column in columns)
    words = evaluation.imaging.in_words
    return ((evaluation.lpips,) if shown else ()) + ((words,) if words else ()) + _dataset_notes(evaluation)


def _dataset_notes(evaluation: Evaluation) -> tuple[str, ...]:
    """What of the dataset is not the protocol's."""
    options = evaluation.dataset_options
    return (f"The dataset was not built by the protocol's defaults: {options}.",) if options else ()


def _flow_notes(evaluation: Evaluation, columns: Sequence[Column[HasFlow]]) -> tuple[str, ...]:
    notes = [f"Scored points: the input frames' {evaluation.points.in_words}."]
    notes += _dataset_notes(evaluation)
    if any(column.name == BY_KEY["v_rmse"].symbol for column in columns):
        notes.append(f"{BY_KEY['v_rmse'].symbol} = {V_RMSE_FORMULA} over the scored points.")
    if any(column.name == NO_GAUSSIAN for column in columns):
        notes.append("No Gaussian: scored points that none was made from; they take the nearest one's velocity.")
    notes.append(f"{FLOOR.capitalize()}: {_floor_in_words(evaluation)}")
    return tuple(notes)


def _floor_in_words(evaluation: Evaluation) -> str:
    if not evaluation.floors:
        return "not measured."
    floor = _FLOOR_NOTE.format(other=_OTHER_READING[evaluation.points.truth])
    missing = any(measured.flow is None for measured in evaluation.floors)
    return f"{floor} n/a where the store has no smoothed tracks." if missing else floor


def _rows(labels: Sequence[tuple[str, ...]], members: Sequence[T], columns: Sequence[Column[T]]) -> Iterable[ScoreRow]:
    best = [_best([column.value(member) for member in members], column) for column in columns]
    for index, (label, member) in enumerate(zip(labels, members, strict=True)):
        cells = tuple(number(column.value(member), column.digits) for column in columns)
        yield ScoreRow(label, cells, tuple(index in winners for winners in best))


def _best(values: Sequence[float | int | None], column: Column[T]) -> set[int]:
    """Rows that hold the best printed value; none when all are equal."""
    shown = {i: round(v, column.digits) for i, v in enumerate(values) if v is not None}
    if column.better == "neither" or len(set(shown.values())) < 2:
        return set()
    top = max(shown.values()) if column.better == "higher" else min(shown.values())
    return {index for index, value in shown.items() if value == top}


def _table(
    title: str,
    labels: tuple[str, ...],
    columns: Sequence[Column[T]],
    rows: Sequence[ScoreRow],
    notes: tuple[str, ...] = (),
) -> ScoreTable:
    return ScoreTable(
        title=title,
        label_heads=labels,
        heads=tuple(column.head for column in columns),
        units=tuple(column.unit for column in columns),
        groups=tuple(column.group for column in columns),
        rows=tuple(rows),
        notes=notes,
    )
