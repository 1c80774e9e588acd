"""One pickled table of a PandaSet log, its columns checked as they are taken out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.sources.base import LogError
from pipelines.sources.files import unreadable
from pipelines.sources.pandaset.pickle_parts import PickleRefusedError
from pipelines.sources.pandaset.safe_pickle import load_dataframe

MAX_TEXT = 256
"""Bound of a name in a table, characters; PandaSet's have 36."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """A data frame and where it came from, for errors."""

    log_id: str
    frame: int
    path: Path
    data: pd.DataFrame

    @classmethod
    def read(cls, log_id: str, frame: int, path: Path) -> FrameTable:
        """Read a table.

        Raises:
            LogError: missing, damaged, or not a plain data frame.
        """
        try:
            return cls(log_id, frame, path, load_dataframe(path))
        except PickleRefusedError as error:
            # Some refusals come with their own next step.
            reason = error.reason if ";" in error.reason else f"{error.reason}; fetch it from a source you trust"
            raise LogError(log_id, reason, frame=frame, file=path) from error
        except OSError as error:
            raise unreadable(log_id, error, path, frame) from error

    def error(self, reason: str) -> LogError:
        """The error that names this table."""
        return LogError(self.log_id, f"{reason}; fetch the file again", frame=self.frame, file=self.path)

    def __len__(self) -> int:
        return len(self.data)

    def floats(
        self, *names: str, low: float = -np.inf, high: float = np.inf, kinds: str = "fiu"
    ) -> NDArray[np.float64]:
        """Finite numbers in ``[low, high]``: one column [rows], several [rows, columns].

        Integers are numbers too, unless `kinds` is ``"f"``: a coordinate without fractions has been cut.
        """
        columns = [self._column(name, kinds) for name in names]
        for name, column in zip(names, columns, strict=True):
            # NaN and infinity show in the extremes, so two passes without temporaries are enough.
            least, most = (column.min(), column.max()) if len(column) else (low, high)
            if len(column) and not (np.isfinite(least) and np.isfinite(most)):
                bad = np.flatnonzero(~np.isfinite(column))
                raise self.error(f"column {name!r} is not finite in {len(bad)} rows, first {bad[0]}")
            if least < low or most > high:
                raise self.error(f"column {name!r} spans [{least:.6g}, {most:.6g}], expected [{low:.6g}, {high:.6g}]")
        if len(columns) == 1:
            return np.array(columns[0], dtype=np.float64)
        return np.stack(columns, axis=1, dtype=np.float64)

    def integers(self, name: str, low: int, high: int) -> NDArray[np.int64]:
        """Integers in ``[low, high]`` [rows]."""
        column = self._column(name, "iu")
        if len(column) and (column.min() < low or column.max() > high):
            raise self.error(f"column {name!r} spans [{column.min()}, {column.max()}], expected {low} to {high}")
        return column.astype(np.int64)

    def flags(self, name: str) -> NDArray[np.bool_]:
        """Booleans [rows]."""
        return self._column(name, "b").astype(np.bool_)

    def texts(self, name: str) -> tuple[str, ...]:
        """Non-empty strings [rows] of at most `MAX_TEXT` printable characters."""
        values = tuple(self._column(name, "OT"))
        # Half a surrogate pair is not printable either; no file could hold it.
        if odd := [value for value in values if not (isinstance(value, str) and value and value.isprintable())]:
            raise self.error(f"column {name!r} holds {repr(odd[0])[:60]}, expected text")
        if long := [value for value in values if len(value) > MAX_TEXT]:
            raise self.error(f"column {name!r} holds a text of {len(long[0])} characters, expected at most {MAX_TEXT}")
        return values

    def _column(self, name: str, kinds: str) -> NDArray[Any]:
        """A column as it is stored, of one of numpy's dtype kinds; an empty table's dtypes do not matter."""
        if (found := int((self.data.columns == name).sum())) != 1:
            held = str(list(self.data.columns[:20]))[:400]
            raise self.error(f"{found} columns are named {name!r}, expected one; the table has {held}")
        column = self.data[name]
        if not len(column):
            return np.empty(0, dtype=np.float64 if "f" in kinds else np.int64)
        if column.dtype.kind not in kinds:
            wanted = {
                "fiu": "numbers", "f": "numbers with fractions", "iu": "integers", "b": "booleans", "OT": "text",
            }[kinds]  # fmt: skip
            raise self.error(f"column {name!r} has dtype {column.dtype}, expected {wanted}")
        return column.to_numpy()
