"""A table of a page: grouped headings with units, rows with a mark, cells that may be the best or n/a."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from store_schema.pages.values import ABSENT

_LONG = 16
"""Characters from which words may wrap where a table needs the room."""


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a column."""

    text: str
    unit: str = ""
    group: str = ""
    """Heading shared with neighbouring columns."""
    left: bool = False
    """Words stand to the left, numbers to the right."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of a cell."""

    text: str
    best: bool = False
    tag: str = ""
    """A word in a badge after the text."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    cells: tuple[Cell | str, ...]
    mark: Literal["", "next", "marked", "total"] = ""
    """The first row of another group, the row that is meant, or the sum of those above."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of finished text, drawn by the macro ``table`` of ``kit.html``.

    Raises:
        ValueError: a row has not a cell for each heading.
    """

    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    """What the reader has to know of all rows."""
    tall: bool = False
    """Many rows: they scroll under the headings."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.heads):
                raise ValueError(f"table {self.title!r}: {len(row.cells)} cells for {len(self.heads)} headings: {row}")

    def groups(self) -> list[tuple[str, int]]:
        """Shared headings and how many columns each spans; nothing when there is none."""
        spans = [(group, len(list(heads))) for group, heads in groupby(head.group for head in self.heads)]
        return spans if any(group for group, _ in spans) else []

    def columns(self) -> list[tuple[Head, str]]:
        """Headings with the style of their column: to the left, or the first of its group."""
        before = [Head(""), *self.heads]
        return [
            (head, "l" if head.left else "first" if head.group and head.group != last.group else "")
            for last, head in zip(before, self.heads, strict=False)
        ]

    def cells(self, row: Row) -> Iterator[tuple[Cell, str]]:
        """Cells with their style: that of the column, ``na`` where there is no value, ``long`` where words may wrap."""
        for given, (_, style) in zip(row.cells, self.columns(), strict=True):
            cell = Cell(given) if isinstance(given, str) else given
            more = "na" if cell.text == ABSENT else "long" if style == "l" and len(cell.text) > _LONG else ""
            yield cell, f"{style} {more}".strip()


def plain_table(
    heads: Sequence[str], rows: Sequence[tuple[str, ...]], left: int = 1, title: str = "", notes: tuple[str, ...] = ()
) -> Table:
    """A table without groups, its first `left` columns to the left."""
    shown = tuple(Head(text, left=place < left) for place, text in enumerate(heads))
    return Table(shown, tuple(Row(cells) for cells in rows), title, notes)
