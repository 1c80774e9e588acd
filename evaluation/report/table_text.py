"""Tables in Markdown and for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.metrics.metric import MOVING
from evaluation.report.columns import FLOW_SUMMARY_COLUMNS
from evaluation.report.tables import SUMMARY_COLUMNS, ScoreTable, flow_table, summary_table
from evaluation.scoring.results import Evaluation

if TYPE_CHECKING:
    from rich.table import Table as RichTable


_TWO_LINES = (MOVING, "FD ", "no ")
"""Beginnings of headings that a terminal shows in two lines."""


def markdown(table: ScoreTable) -> str:
    """The table in Markdown; the best cell of a group of clips is bold."""
    heads = []
    for group, head, unit in zip(table.groups, table.heads, table.units, strict=True):
        heads.append(" ".join(part for part in (group, head, f"[{unit}]" if unit else "") if part))
    lines = [
        f"### {table.title}",
        "",
        "| " + " | ".join([*table.label_heads, *heads]) + " |",
        "|" + "---|" * len(table.label_heads) + "---:|" * len(heads),
    ]
    for row in table.rows:
        cells = [f"**{cell}**" if best else cell for cell, best in zip(row.cells, row.best, strict=True)]
        lines.append("| " + " | ".join([*(label.replace("|", "\\|") for label in row.labels), *cells]) + " |")
    lines += [line for note in table.notes for line in ("", note.replace("|", "\\|"))]
    return "\n".join(lines) + "\n"


def rich_tables(evaluation: Evaluation) -> list[RichTable]:
    """The summary for a terminal: one narrow table each for interpolation, future and scene flow."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    printed = []
    tables = [
        summary_table(group, evaluation, [column for column in SUMMARY_COLUMNS if column.group == group])
        for group in ("Interpolation", "Future")
    ]
    # Counts of points are long: without padding the scene flow of a large data set still fits 80 columns.
    padded = [*((table, 1) for table in tables), (flow_table("Scene flow", evaluation, FLOW_SUMMARY_COLUMNS), 0)]
    for table, padding in padded:
        shown = RichTable(
            title=table.title,
            box=box.SIMPLE_HEAD,
            title_justify="left",
            title_style="bold",
            padding=(0, padding),
            pad_edge=False,
            show_edge=False,
            collapse_padding=True,
            caption=Text("\n".join(table.notes)) if table.notes else None,
            caption_justify="left",
        )
        for label in table.label_heads:
            shown.add_column(Text(label), no_wrap=label != "method")
        for head, unit in zip(table.heads, table.units, strict=True):
            heading = head.replace(" ", "\n", 1) if head.startswith(_TWO_LINES) else head
            shown.add_column(Text(f"{heading}\n{unit}"), justify="right", no_wrap=True)
        for row in table.rows:
            cells = [Text(cell, style="bold" if best else "") for cell, best in zip(row.cells, row.best, strict=True)]
            shown.add_row(*(Text(label) for label in row.labels), *cells)
        printed.append(shown)
    return printed
