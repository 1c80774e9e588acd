"""Tables of a LiDAR evaluation, for a terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from evaluation.lidar.metrics import CHAMFER_RANGE
from evaluation.lidar.results import LidarEvaluation, LidarMeans, SweepRow, means_of
from evaluation.lidar.truth import OWN_BODY
from evaluation.report.columns import Column
from evaluation.report.tables import ScoreRow, ScoreTable
from evaluation.scoring.results import GROUPS
from store_schema.pages.values import number

if TYPE_CHECKING:
    from rich.table import Table as RichTable

ROLES = ("interpolation", "future")
COLUMNS: tuple[Column[LidarMeans], ...] = (
    Column("median error", "m", lambda r: r.median_error, 3, "lower"),
    Column("RMSE", "m", lambda r: r.rmse, 2, "lower"),
    Column("rays", "", lambda r: r.rays),
    Column("drop accuracy", "%", lambda r: _percent(r.drop_accuracy), 1, "higher"),
    Column("precision", "%", lambda r: _percent(r.drop_precision), 1, "higher"),
    Column("recall", "%", lambda r: _percent(r.drop_recall), 1, "higher"),
    Column("recall hard", "%", lambda r: _percent(r.drop_recall_hard), 1, "higher"),
    Column("dropped", "", lambda r: r.dropped_rays),
    Column("dropped hard", "", lambda r: r.dropped_rays_hard),
    Column("Chamfer", "m", lambda r: r.chamfer, 3, "lower"),
    Column("sweeps", "", lambda r: r.sweeps),
    Column("render", "s/sweep", lambda r: r.render_seconds, 2, "lower"),
)
_ONLY_ON_PAGE = ("drop", "dropped", "sweeps", "render")  # first words of heads
NOTES = (
    "Each figure is a mean over sweeps; counts are sums. Range errors are over the rays that come back both in truth "
    "and in the rendering (rays); a ray is said to come back when its drop is below one half.",
    "Errors of two methods compare only with their rays in view: one that drops difficult rays errs less on the rest.",
    "expected: range averaged over what the ray meets; median: where half of its light is gone. Precision and recall "
    "are those of the rays that do not come back (dropped: how many truly do not).",
    "Hard: of the dropped rays, those that came back in some input sweep (same beam, same firing of the turn). The "
    "others, as those to the sky, came back in none: to drop what never came back finds them without any scene.",
    f"Chamfer: mean distance to the nearest point, there and back, of points up to {CHAMFER_RANGE:g} m.",
    "Rays that look at the sensor's own car are not scored. Methods and floors are without its returns in the input "
    f"sweeps: points nearer than {OWN_BODY:g} m to the LiDAR, and the Gaussians made from them.",
    "Nothing in a scene says that glass or a black car swallows the beam: only what no Gaussian covers is dropped.",
)


def lidar_tables(evaluation: LidarEvaluation) -> list[ScoreTable]:
    """Interpolation and future over all clips, apart; then both clip by clip."""
    tables = [_table(f"LiDAR sweeps, {role}", role, _groups(evaluation), "clips") for role in ROLES]
    clips = [
        (clip, [row for row in evaluation.sweeps if row.clip_id == clip])
        for clip in dict.fromkeys(row.clip_id for row in evaluation.sweeps)
    ]
    if len(clips) > 1:
        tables += [_table(f"LiDAR sweeps by clip, {role}", role, clips, "clip") for role in ROLES]
    return tables


def rich_tables(table: ScoreTable) -> list[RichTable]:
    """For a terminal of 80 columns: one for each group of clips, without `_ONLY_ON_PAGE`."""
    groups = dict.fromkeys(row.labels[-1] for row in table.rows)
    return [_rich_table(table, group) for group in groups]


def _rich_table(table: ScoreTable, group: str) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=f"{table.title}, {group}",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for label in table.label_heads[:-1]:
        shown.add_column(Text(label), no_wrap=label != "method")
    kept = [index for index, head in enumerate(table.heads) if head.split(" ")[0] not in _ONLY_ON_PAGE]
    for index in kept:
        words = table.heads[index].removesuffix(" \u2193").removesuffix(" \u2191").split(" ")
        shown.add_column(Text("\n".join([*words, table.units[index]])), justify="right", no_wrap=True)
    for row in table.rows:
        if row.labels[-1] == group:
            shown.add_row(*(Text(label) for label in row.labels[:-1]), *(Text(row.cells[index]) for index in kept))
    return shown


def _groups(evaluation: LidarEvaluation) -> list[tuple[str, list[SweepRow]]]:
    """Unseen, seen and all clips; groups that hold the same clips once."""
    both = {row.seen for row in evaluation.sweeps} == {True, False}
    groups = []
    for group, wanted in reversed(GROUPS):
        rows = [row for row in evaluation.sweeps if row.seen in wanted]
        if rows and (both or group != "all"):
            groups.append((f"{group} ({len({row.clip_id for row in rows})})", rows))
    return groups


def _table(title: str, role: str, groups: Iterable[tuple[str, Sequence[SweepRow]]], what: str) -> ScoreTable:
    rows = []
    for label, members in groups:
        for method, kind in dict.fromkeys((row.method, row.kind) for row in members):
            own = [row for row in members if (row.method, row.kind, row.role) == (method, kind, role)]
            means = means_of(own)
            cells = tuple(number(column.value(means), column.digits) for column in COLUMNS)
            rows.append(ScoreRow((method, kind, label), cells, (False,) * len(cells)))
    return ScoreTable(
        title=title,
        label_heads=("method", "range", what),
        heads=tuple(column.head for column in COLUMNS),
        units=tuple(column.unit for column in COLUMNS),
        groups=("",) * len(COLUMNS),
        rows=tuple(rows),
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
