"""Tables of scores as tables of a page."""

from __future__ import annotations

from evaluation.report.tables import ScoreTable
from store_schema.pages.table import Cell, Head, Row, Table

_CLIPS = ("clip", "clips")
"""Heads of the label that says which clips a row is about; where it changes, other rows begin."""


def page_table(table: ScoreTable) -> Table:
    """The same table, a line between the rows of one group of clips and the next."""
    heads = [Head(label, left=True) for label in table.label_heads]
    heads += [Head(*column) for column in zip(table.heads, table.units, table.groups, strict=True)]
    place = next(place for place, head in enumerate(table.label_heads) if head in _CLIPS)
    rows: list[Row] = []
    for index, row in enumerate(table.rows):
        cells = [Cell(text, best) for text, best in zip(row.cells, row.best, strict=True)]
        new = index > 0 and row.labels[place] != table.rows[index - 1].labels[place]
        rows.append(Row((*row.labels, *cells), "next" if new else ""))
    return Table(tuple(heads), tuple(rows), table.title, table.notes)
