"""Tables of early evaluations, for a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from evaluation.metrics.metric import Quantity
from evaluation.metrics.table import quantities
from evaluation.run_folder.rows import Row, number_of
from evaluation.run_report.headline import Best
from store_schema.pages.table import Cell, Head, Table
from store_schema.pages.table import Row as Line
from store_schema.pages.values import number

_TITLES = {"interpolation": "interpolation", "future": "future", "flow": "scene flow"}
_GROUPS = tuple(
    (_TITLES[role], tuple(group)) for role, group in groupby(quantities("history"), key=lambda each: each.role)
)


def evaluation_table(evaluations: Sequence[Row], best: Best | None) -> Table:
    """One row an early evaluation, the newest first; marked are the best one and the best value of each column."""
    columns = [(group, column) for group, held in _GROUPS for column in held]
    tops = {column.name: _top(evaluations, column) for _, column in columns}
    heads = [Head("step", left=True), Head("weights", left=True)]
    heads += [
        Head(each.metric.head, ", ".join(filter(None, (each.metric.unit, "moving" * each.moving))), group)
        for group, each in columns
    ]
    rows = []
    for place, row in reversed(list(enumerate(evaluations))):
        marked = best is not None and place == best.place
        step = Cell(number(row["step"]), tag="best" if marked else "")
        cells = [_cell(row, column, tops[column.name]) for _, column in columns]
        rows.append(Line((step, str(row.get("weights", "not recorded")), *cells), "marked" if marked else ""))
    return Table(tuple(heads), tuple(rows), tall=True)


def everything_table(evaluations: Sequence[Row]) -> Table:
    """Every metric and count under its own name, the newest first."""
    names = {kind: dict.fromkeys(name for row in evaluations for name in row[kind]) for kind in ("metrics", "counts")}
    columns = [(kind, name) for kind, held in names.items() for name in held]
    heads = [Head("step", left=True), *(Head(name, group=kind) for kind, name in columns)]
    rows = [
        Line((number(row["step"]), *(_plain(row, kind, name) for kind, name in columns)))
        for row in reversed(evaluations)
    ]
    return Table(tuple(heads), tuple(rows), tall=True)


def _value(row: Row, name: str, kind: str = "metrics") -> float | None:
    return number_of({**row[kind], "step": row["step"]}, name)


def _top(evaluations: Sequence[Row], column: Quantity) -> float | None:
    values = [value for row in evaluations if (value := _value(row, column.name)) is not None and value == value]
    return (max if column.metric.better == "higher" else min)(values, default=None)


def _cell(row: Row, column: Quantity, top: float | None) -> Cell:
    value = _value(row, column.name)
    return Cell(number(value, column.metric.digits), best=value is not None and value == top)


def _plain(row: Row, kind: str, name: str) -> str:
    value = _value(row, name, kind)
    if kind == "counts" or value is None or value != value:
        return number(value)
    return f"{value:.6g}"
