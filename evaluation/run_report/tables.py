"""Tables of early evaluations, for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.run_report.headline import Best
from evaluation.run_report.log import Row, number_of
from store_schema.pages.table import Cell, Head, Table
from store_schema.pages.table import Row as Line
from store_schema.pages.values import number

_HIGHER = ("psnr", "ssim", "acc")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    head: str
    unit: str
    digits: int

    @property
    def sign(self) -> int:
        return 1 if any(word in self.name for word in _HIGHER) else -1


def _image_columns(role: str) -> tuple[_Column, ...]:
    return (
        _Column(f"{role}/psnr", "PSNR ↑", "dB", 2),
        _Column(f"{role}/psnr_dynamic", "PSNR ↑", "dB, moving", 2),
        _Column(f"{role}/ssim", "SSIM ↑", "", 4),
        _Column(f"{role}/depth_rmse", "D-RMSE ↓", "m", 2),
    )


_GROUPS = (
    ("interpolation", _image_columns("interpolation")),
    ("future", _image_columns("future")),
    (
        "scene flow",
        (
            _Column("flow/epe3d", "EPE3D ↓", "m", 3),
            _Column("flow/epe_3way", "EPE 3-way ↓", "m", 3),
            _Column("flow/v_rmse", "V_RMSE ↓", "m/s", 3),
            _Column("flow/theta_dyn", "θ ↓", "rad, moving", 3),
        ),
    ),
)


def evaluation_table(evaluations: Sequence[Row], best: Best | None) -> Table:
    """One row an early evaluation, the newest first; marked are the best one and the best value of each column."""
    columns = [(group, column) for group, held in _GROUPS for column in held]
    tops = {column.name: _top(evaluations, column) for _, column in columns}
    heads = [Head("step", left=True), Head("weights", left=True)]
    heads += [Head(column.head, column.unit, group) for group, column in columns]
    rows = []
    for place, row in reversed(list(enumerate(evaluations))):
        marked = best is not None and place == best.place
        step = Cell(number(row["step"]), tag="best" if marked else "")
        cells = [_cell(row, column, tops[column.name]) for _, column in columns]
        rows.append(Line((step, str(row.get("weights", "not recorded")), *cells), "marked" if marked else ""))
    return Table(tuple(heads), tuple(rows), tall=True)


def everything_table(evaluations: Sequence[Row]) -> Table:
    """Every metric and count under its own name, the newest first."""
    names = {kind: dict.fromkeys(name for row in evaluations for name in row[kind]) for kind in ("metrics", "counts")}
    columns = [(kind, name) for kind, held in names.items() for name in held]
    heads = [Head("step", left=True), *(Head(name, group=kind) for kind, name in columns)]
    rows = [
        Line((number(row["step"]), *(_plain(row, kind, name) for kind, name in columns)))
        for row in reversed(evaluations)
    ]
    return Table(tuple(heads), tuple(rows), tall=True)


def _value(row: Row, name: str, kind: str = "metrics") -> float | None:
    return number_of({**row[kind], "step": row["step"]}, name)


def _top(evaluations: Sequence[Row], column: _Column) -> float | None:
    values = [value for row in evaluations if (value := _value(row, column.name)) is not None and value == value]
    return max(values, key=lambda value: column.sign * value, default=None)


def _cell(row: Row, column: _Column, top: float | None) -> Cell:
    value = _value(row, column.name)
    return Cell(number(value, column.digits), best=value is not None and value == top)


def _plain(row: Row, kind: str, name: str) -> str:
    value = _value(row, name, kind)
    if kind == "counts" or value is None or value != value:
        return number(value)
    return f"{value:.6g}"
