"""Logs of a training run: JSON Lines that may be read while they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Rows of ``metrics.jsonl`` or ``evaluations.jsonl``, oldest first; nothing when there is no such file.

    A last line without its line break that is no JSON is still being written, or was when the run was killed: it is
    left out.

    Raises:
        ValueError: any other line is not a JSON object with a whole number as ``step``; names file and line.
    """
    if not path.is_file():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    rows = [_row(path, number, line) for number, line in enumerate(lines, start=1)]
    if last:
        try:
            rows.append(_row(path, len(lines) + 1, last))
        except _NotJsonError:
            pass
    return rows


class _NotJsonError(ValueError):
    """The line is cut off or damaged."""


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _NotJsonError(
            f"{path}, line {number}: not JSON ({error}); take the line out, or continue the run from its last "
            "checkpoint with --resume"
        ) from error
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise ValueError(f"{path}, line {number}: not a row of a training log, it has no whole number as step")
    return row


def number_of(row: Row, name: str) -> float | None:
    """A column's value; None when it is n/a or not recorded.

    Raises:
        ValueError: it is no number.
    """
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"training log, step {row['step']}: {name} is {value!r}, which is no number")
    return float(value)
