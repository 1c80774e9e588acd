"""Curves of a training run, from its log of steps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evaluation.run_folder.rows import Row, number_of, read_rows
from store_schema.pages.line_chart import Curve

CURVES = ("loss", "psnr")
"""Columns of the log of steps that are drawn."""


def read_curves(path: Path) -> tuple[Curve, ...]:
    """Training curves of a ``metrics.jsonl``; nothing when there is no such file.

    Raises:
        ValueError: a line that is complete is not JSON.
    """
    rows = read_rows(path)
    curves = (curve_of(rows, name) for name in CURVES)
    return tuple(curve for curve in curves if curve.steps)


def curve_of(rows: Iterable[Row], name: str) -> Curve:
    """One column of a training log, steps without a value left out."""
    points = [(int(row["step"]), value) for row in rows if (value := number_of(row, name)) is not None]
    return Curve(name, tuple(step for step, _ in points), tuple(value for _, value in points))
