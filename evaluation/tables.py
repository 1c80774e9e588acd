"""The tables of an evaluation as text cells, and their printers for terminal and Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from evaluation.results import ClipRow, Evaluation, Group, ImageSummary, Summary
from store_schema.labels import Bucket

if TYPE_CHECKING:
    from rich.table import Table as RichTable

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class Column(Generic[T_contra]):
    """One quantity of a table."""

    name: str
    unit: str
    value: Callable[[T_contra], float | int | None]
    digits: int = 3
    better: Better = "neither"
    group: str = ""
    """Heading shared with neighbouring columns."""

    @property
    def head(self) -> str:
        """Name and which way is better."""
        return self.name + {"higher": " ↑", "lower": " ↓", "neither": ""}[self.better]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: its labels, cells, and which cells are the best among the rows of one group of clips."""

    labels: tuple[str, ...]
    cells: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of finished text."""

    title: str
    label_heads: tuple[str, ...]
    heads: tuple[str, ...]
    units: tuple[str, ...]
    """Unit of each column, empty for a pure number."""
    groups: tuple[str, ...]
    """Shared heading of each column."""
    rows: tuple[Row, ...]


def image_columns(role: Literal["interpolation", "future"]) -> list[Column[Summary | ClipRow]]:
    """PSNR, SSIM and depth RMSE on the full image and in moving regions, with counts."""

    def region(name: str, row: Summary | ClipRow) -> object:
        images: ImageSummary = getattr(row, role)
        return getattr(images, name)

    columns: list[Column[Summary | ClipRow]] = []
    for name, title in (("full", "Full image"), ("moving", "Moving regions")):

        def take(field: str, name: str = name) -> Callable[[Summary | ClipRow], float | int | None]:
            return lambda row: getattr(region(name, row), field)

        columns += [
            Column("PSNR", "dB", take("psnr"), 2, "higher", title),
            Column("SSIM", "", take("ssim"), 3, "higher", title),
            Column("D_RMSE", "m", take("d_rmse"), 2, "lower", title),
            Column("frames", "", take("frames"), group=title),
            Column("LiDAR px", "", take("depth_pixels"), group=title),
        ]
    return columns


FLOW_COLUMNS: list[Column[Summary | ClipRow]] = [
    Column("EPE3D", "m", lambda r: r.flow.epe3d, 3, "lower"),
    Column("Acc5", "", lambda r: r.flow.acc5, 3, "higher"),
    Column("Acc10", "", lambda r: r.flow.acc10, 3, "higher"),
    Column("θ", "rad", lambda r: r.flow.theta, 3, "lower"),
    Column("θ_dyn", "rad", lambda r: r.flow.theta_dyn, 3, "lower"),
    Column("EPE-BS", "m", lambda r: r.flow.epe_bs, 3, "lower"),
    Column("EPE-FS", "m", lambda r: r.flow.epe_fs, 3, "lower"),
    Column("EPE-FD", "m", lambda r: r.flow.epe_fd, 3, "lower"),
    Column("EPE-3way", "m", lambda r: r.flow.epe_3way, 3, "lower"),
    Column("V_RMSE", "m/s", lambda r: r.flow.v_rmse, 3, "lower"),
    Column("V_RMSE dyn", "m/s", lambda r: r.flow.v_rmse_dyn, 3, "lower"),
    Column("points", "", lambda r: r.flow.points),
    Column("FD points", "", lambda r: r.flow.points_fd),
]
"""Scene flow on the input frames."""

SUMMARY_COLUMNS: list[Column[Summary | ClipRow]] = [
    Column("PSNR", "dB", lambda r: r.interpolation.full.psnr, 2, "higher", "Interpolation"),
    Column("SSIM", "", lambda r: r.interpolation.full.ssim, 3, "higher", "Interpolation"),
    Column("moving PSNR", "dB", lambda r: r.interpolation.moving.psnr, 2, "higher", "Interpolation"),
    Column("D_RMSE", "m", lambda r: r.interpolation.full.d_rmse, 2, "lower", "Interpolation"),
    Column("frames", "", lambda r: r.interpolation.full.frames, group="Interpolation"),
    Column("PSNR", "dB", lambda r: r.future.full.psnr, 2, "higher", "Future"),
    Column("SSIM", "", lambda r: r.future.full.ssim, 3, "higher", "Future"),
    Column("moving PSNR", "dB", lambda r: r.future.moving.psnr, 2, "higher", "Future"),
    Column("D_RMSE", "m", lambda r: r.future.full.d_rmse, 2, "lower", "Future"),
    Column("frames", "", lambda r: r.future.full.frames, group="Future"),
    Column("EPE3D", "m", lambda r: r.flow.epe3d, 3, "lower", "Scene flow"),
    Column("EPE-FD", "m", lambda r: r.flow.epe_fd, 3, "lower", "Scene flow"),
    Column("V_RMSE", "m/s", lambda r: r.flow.v_rmse, 3, "lower", "Scene flow"),
    Column("points", "", lambda r: r.flow.points, group="Scene flow"),
]
"""The one table that is printed and that opens the report."""


def bucket_columns() -> list[Column[Summary | ClipRow]]:
    """Static EPE and dynamic normalised EPE of each class, with their means and the points they rest on."""
    columns: list[Column[Summary | ClipRow]] = []
    for bucket in (b for b in Bucket if b is not Bucket.OTHER):
        name, title = bucket.name, bucket.name.replace("_", " ").capitalize().replace("vru", "VRU")

        def static(row: Summary | ClipRow, name: str = name) -> float | None:
            return row.flow.bucket_static_epe[name]

        def dynamic(row: Summary | ClipRow, name: str = name) -> float | None:
            return row.flow.bucket_dynamic_nepe[name]

        def points(row: Summary | ClipRow, name: str = name) -> int:
            return row.flow.bucket_points[name]

        columns.append(Column("S", "m", static, 3, "lower", title))
        if bucket is not Bucket.BACKGROUND:
            columns.append(Column("D", "", dynamic, 3, "lower", title))
        columns.append(Column("points", "", points, group=title))
    columns.append(Column("S", "m", lambda r: r.flow.mean_static_epe, 3, "lower", "Mean"))
    columns.append(Column("D", "", lambda r: r.flow.mean_dynamic_nepe, 3, "lower", "Mean"))
    return columns


COST_COLUMNS: list[Column[ClipRow]] = [
    Column("Gaussians", "", lambda r: r.gaussians),
    Column("reconstruct", "s", lambda r: r.reconstruct_seconds, 2, "lower"),
    Column("render", "s/view", lambda r: r.render_seconds, 3, "lower"),
]
"""What a clip costs."""


def summary_table(title: str, evaluation: Evaluation, columns: Sequence[Column[Summary | ClipRow]]) -> Table:
    """One row for each group of clips and method; groups that hold the same clips are shown once."""
    groups = {s.group for s in evaluation.summaries}
    shown: Iterable[Group] = ("unseen", "seen", "all") if {"seen", "unseen"} <= groups else (groups - {"all"})
    rows: list[Row] = []
    for group in shown:
        members = [s for s in evaluation.summaries if s.group == group]
        labels = [(s.method, f"{group} ({s.clips})") for s in members]
        rows += _rows(labels, members, columns)
    return _table(title, ("method", "clips"), columns, rows)


def clip_table(title: str, evaluation: Evaluation, columns: Sequence[Column[ClipRow]]) -> Table:
    """One row for each clip and method."""
    rows: list[Row] = []
    for clip_id in dict.fromkeys(row.clip_id for row in evaluation.clips):
        members = [row for row in evaluation.clips if row.clip_id == clip_id]
        labels = [(clip_id, "seen" if row.seen else "unseen", row.method) for row in members]
        rows += _rows(labels, members, columns)
    return _table(title, ("clip", "training", "method"), columns, rows)


def all_tables(evaluation: Evaluation) -> list[Table]:
    """Every summary table, the short one first."""
    return [
        summary_table("Summary", evaluation, SUMMARY_COLUMNS),
        summary_table("Interpolation", evaluation, image_columns("interpolation")),
        summary_table("Future", evaluation, image_columns("future")),
        summary_table("Scene flow on the input frames", evaluation, FLOW_COLUMNS),
        summary_table("Scene flow by class", evaluation, bucket_columns()),
    ]


def markdown(table: Table) -> str:
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
    return "\n".join(lines) + "\n"


def rich_tables(evaluation: Evaluation) -> list[RichTable]:
    """The summary for a terminal: one narrow table each for interpolation, future and scene flow."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    printed = []
    for group in dict.fromkeys(column.group for column in SUMMARY_COLUMNS):
        columns = [column for column in SUMMARY_COLUMNS if column.group == group]
        table = summary_table(group, evaluation, columns)
        shown = RichTable(
            title=table.title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", padding=(0, 1)
        )
        for label in table.label_heads:
            shown.add_column(Text(label), no_wrap=True)
        for head, unit in zip(table.heads, table.units, strict=True):
            shown.add_column(Text(f"{head}\n{unit}"), justify="right", no_wrap=True)
        for row in table.rows:
            cells = [Text(cell, style="bold" if best else "") for cell, best in zip(row.cells, row.best, strict=True)]
            shown.add_row(*(Text(label) for label in row.labels), *cells)
        printed.append(shown)
    return printed


def number(value: float | int | None, digits: int) -> str:
    """A number for a table; None is n/a."""
    if value is None:
        return "n/a"
    if isinstance(value, int):
        return f"{value:,}"
    return "∞" if value == math.inf else f"{value:.{digits}f}"


def _rows(labels: Sequence[tuple[str, ...]], members: Sequence[T], columns: Sequence[Column[T]]) -> Iterable[Row]:
    best = [_best([column.value(member) for member in members], column) for column in columns]
    for index, (label, member) in enumerate(zip(labels, members, strict=True)):
        cells = tuple(number(column.value(member), column.digits) for column in columns)
        yield Row(label, cells, tuple(index in winners for winners in best))


def _best(values: Sequence[float | int | None], column: Column[T]) -> set[int]:
    """Rows that hold the best printed value; none when all are equal."""
    shown = {i: round(v, column.digits) for i, v in enumerate(values) if v is not None and v != math.inf}
    if column.better == "neither" or len(set(shown.values())) < 2:
        return set()
    top = max(shown.values()) if column.better == "higher" else min(shown.values())
    return {index for index, value in shown.items() if value == top}


def _table(title: str, labels: tuple[str, ...], columns: Sequence[Column[T]], rows: Sequence[Row]) -> Table:
    return Table(
        title=title,
        label_heads=labels,
        heads=tuple(column.head for column in columns),
        units=tuple(column.unit for column in columns),
        groups=tuple(column.group for column in columns),
        rows=tuple(rows),
    )
