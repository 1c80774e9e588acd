"""Logs of a training run: JSON Lines that may be read while they are written."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_LAST_STEP = 2**53
_LARGEST = 1e100
_LONGEST = 18
"""Digits of a whole number that is kept as one."""
_FORMER_NAME = re.compile(r"(?P<name>(interpolation|future)/.+)_dynamic")


def read_rows(path: Path) -> list[Row]:
    """Rows of ``metrics.jsonl`` or ``evaluations.jsonl``, oldest first; nothing when there is no such file.

    Raises:
        ValueError: as `read_lines`.
    """
    return [row for _, row in read_lines(path)]


def read_lines(path: Path) -> list[tuple[bytes, Row]]:
    """`read_rows`, each with its bytes without the line break.

    A last line without its line break that is no JSON is still being written, or was when the run was killed: it is
    left out.

    Raises:
        ValueError: any other line is not a JSON object with a whole number as ``step``; names file and line.
    """
    if not path.is_file():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    rows = [(line, _row(path, number, line)) for number, line in enumerate(lines, start=1)]
    if last:
        with suppress(_NotJsonError):
            rows.append((last, _row(path, len(lines) + 1, last)))
    return rows


class _NotJsonError(ValueError):
    """The line is cut off or damaged."""


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise _NotJsonError(
            f"{path}, line {number}: not JSON ({error}); repair or remove the line, before that the run cannot go on "
            "with --resume"
        ) from error
    step = row.get("step") if isinstance(row, dict) else None
    if type(step) is not int or not 0 <= step < _LAST_STEP:
        raise ValueError(
            f"{path}, line {number}: not a row of a training log, it has no whole number as step; repair or remove the "
            "line"
        )
    return _with_present_names(row)


def _with_present_names(row: Row) -> Row:
    """An early evaluation of an older version, with the names of this one."""
    for kind in ("metrics", "counts"):
        if isinstance(row.get(kind), dict):
            row[kind] = {present_name(name): value for name, value in row[kind].items()}
    return row


def parse_json(data: bytes) -> Any:
    """A JSON value of UTF-8. Whole numbers of more than 18 digits become floats, infinite where no float holds them.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(data.decode(), parse_int=_whole)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST else float(text)


def number_of(row: Row, name: str) -> float | None:
    """A column's value, perhaps NaN or infinite; None when it is n/a or not recorded.

    Raises:
        ValueError: it is no number.
    """
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"training log, step {row['step']}: {name} is {value!r}, which is no number")
    return float(value)


def usable_number(row: Row, name: str) -> float | None:
    """`number_of` where it can be reckoned with: finite and at most 1e100 either way; else None.

    Raises:
        ValueError: it is no number.
    """
    value = number_of(row, name)
    return value if value is not None and math.isfinite(value) and abs(value) <= _LARGEST else None


def present_name(name: str) -> str:
    """Name of a metric or count of an early evaluation, whatever version wrote it.

    Those of moving regions ended in ``_dynamic`` before.
    """
    former = _FORMER_NAME.fullmatch(name)
    return name if former is None else f"{former['name']}_moving"
