"""Logs of one JSON object a line, which a run that goes on continues as if it had never stopped."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from store_schema.atomic import write_atomic


class JsonLines:
    """A log that rows are appended to. After a stop, call `truncate_after` before opening it again.

    Args:
        path: The file; made with its folder when there is none.

    Raises:
        ValueError: the file ends within a line.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+")
        if self._file.tell():
            self._file.seek(-1, 2)
            if self._file.read(1) != b"\n":
                self._file.close()
                raise ValueError(f"{path} ends within a line: continue the run with --resume, which drops it")

    def append(self, row: dict[str, Any]) -> None:
        """Write a row; readers see it at once. NaN and infinity, which JSON does not have, become null."""
        self._file.write(json.dumps(_finite(row), allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def truncate_after(path: Path, step: int) -> None:
    """Drop the rows of steps above `step`: they are going to be made again. Without such a file nothing is done.

    A last line that a kill cut off is dropped; all lines that stay keep their bytes.

    Raises:
        ValueError: another line is not a JSON object with a whole number "step".
    """
    if not path.exists():
        return
    data = path.read_bytes()
    *lines, last = data.split(b"\n")
    kept = []
    for number, line in enumerate(lines, start=1):
        try:
            row_step = _step(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}; repair or remove the line") from error
        if row_step <= step:
            kept.append(line)
    with suppress(ValueError):  # what follows the last line end is mostly nothing, or the half of a row
        if _step(last) <= step:
            kept.append(last)
    if (text := b"".join(line + b"\n" for line in kept)) != data:
        write_atomic(path, text)


def _step(line: bytes) -> int:
    row = json.loads(line)
    step = row.get("step") if isinstance(row, dict) else None
    if not isinstance(step, int) or isinstance(step, bool):
        raise ValueError('not a JSON object with a whole number "step"')
    return step


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
