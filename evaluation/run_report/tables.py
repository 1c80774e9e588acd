"""Tables of early evaluations, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from evaluation.metrics.metric import Quantity
from evaluation.metrics.table import quantities
from evaluation.run_folder.rows import Row, number_of
from evaluation.run_report.headline import Best
from evaluation.run_report.words import shown

_TITLES = {"interpolation": "interpolation", "future": "future", "flow": "scene flow"}
_GROUPS = tuple(
    (_TITLES[role], tuple(group)) for role, group in groupby(quantities("history"), key=lambda each: each.role)
)


def evaluation_table(evaluations: Sequence[Row], best: Best | None) -> str:
    """One row an early evaluation, the newest first; marked are the best one and the best value of each column."""
    columns = [column for _, group in _GROUPS for column in group]
    tops = {column.name: _top(evaluations, column) for column in columns}
    first = {group[0].name for _, group in _GROUPS}
    heads = "".join(
        f"<th{' class=first' if column.name in first else ''}>{column.metric.head}<br>"
        f"<small>{', '.join(filter(None, (column.metric.unit, 'moving' * column.moving)))}</small></th>"
        for column in columns
    )
    groups = "".join(f'<th class="group first" colspan="{len(group)}">{name}</th>' for name, group in _GROUPS)
    body = ""
    for place, row in reversed(list(enumerate(evaluations))):
        marked = best is not None and place == best.place
        tag = ' <span class="tag unseen">best</span>' if marked else ""
        cells = "".join(_cell(row, column, tops[column.name], column.name in first) for column in columns)
        body += (
            f'<tr{" class=marked" if marked else ""}><td class="l">{row["step"]:,}{tag}</td>'
            f'<td class="l">{escape(str(row.get("weights", "not recorded")))}</td>{cells}</tr>'
        )
    return (
        f'<div class="scroll tall"><table><thead><tr><th colspan="2"></th>{groups}</tr><tr class="heads">'
        f'<th class="l">step</th><th class="l">weights</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def everything_table(evaluations: Sequence[Row]) -> str:
    """Every metric and count under its own name, the newest first."""
    parts = [
        (kind, list(dict.fromkeys(name for row in evaluations for name in row[kind]))) for kind in ("metrics", "counts")
    ]
    heads = "".join(
        f'<th class="{"first" if not place else ""}">{escape(name)}</th>'
        for _, names in parts
        for place, name in enumerate(names)
    )
    body = ""
    for row in reversed(evaluations):
        cells = "".join(_plain(row, kind, name) for kind, names in parts for name in names)
        body += f'<tr><td class="l">{row["step"]:,}</td>{cells}</tr>'
    return (
        f'<div class="scroll tall"><table><thead><tr class="heads"><th class="l">step</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _value(row: Row, name: str, kind: str = "metrics") -> float | None:
    return number_of({**row[kind], "step": row["step"]}, name)


def _top(evaluations: Sequence[Row], column: Quantity) -> float | None:
    values = [value for row in evaluations if (value := _value(row, column.name)) is not None and value == value]
    return (max if column.metric.better == "higher" else min)(values, default=None)


def _cell(row: Row, column: Quantity, top: float | None, first: bool) -> str:
    value = _value(row, column.name)
    text = "n/a" if value is None else shown(value, column.metric.digits)
    names = " ".join(name for name, on in (("first", first), ("na", text == "n/a")) if on)
    return f'<td class="{names}">{f"<b>{text}</b>" if value is not None and value == top else text}</td>'


def _plain(row: Row, kind: str, name: str) -> str:
    value = _value(row, name, kind)
    if value is None or value != value:
        return '<td class="na">n/a</td>'
    return f"<td>{shown(value, 0) if kind == 'counts' else f'{value:.6g}'}</td>"
