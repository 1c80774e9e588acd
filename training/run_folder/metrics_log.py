"""Logs with one JSON object a line; a resumed run continues them as if it had never stopped."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from evaluation.run_folder.rows import read_lines
from store_schema.files.atomic import write_atomic


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

    def sync(self) -> None:
        """Bring what was appended to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def truncate_after(path: Path, step: int) -> None:
    """Drop the rows of steps above `step`: they are going to be made again. Without such a file nothing is done.

    A last line that a kill cut off is dropped; all lines that stay keep their bytes.

    Raises:
        ValueError: as `evaluation.run_folder.rows.read_lines`.
    """
    kept = b"".join(line + b"\n" for line, row in read_lines(path) if row["step"] <= step)
    if path.exists() and path.read_bytes() != kept:
        write_atomic(path, kept)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
