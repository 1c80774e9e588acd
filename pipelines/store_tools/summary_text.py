"""The summary of a version for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.store_tools.flatten import flatten
from pipelines.store_tools.summary import FLOW_COLUMNS, Group, VersionSummary
from store_schema.labels import FlowClass
from store_schema.pages.histogram import Histogram, histogram
from store_schema.pages.values import number, share_text, size_text

FEW = 50
"""Rows of a list that are shown without ``--all``."""
_BAR = 40


def print_summary(summary: VersionSummary, console: Console, everything: bool = False) -> None:
    """Print a version's summary.

    Args:
        summary: the version.
        console: where to.
        everything: all rows of long lists, instead of the first 50 and a notice.
    """
    _facts(summary, console)
    console.print(_counts(summary))
    console.print(_flow(summary.total()))
    bins = histogram([row["num_points"] for row in summary.clips], narrowest=1)
    if bins is not None:
        console.print("[bold]Gaussians (lifted points) a clip[/bold]")
        for line in bar_lines(bins):
            console.print(line, highlight=False)
        console.print()
    console.print(_clips(summary, everything))
    _notice(console, len(summary.clips), everything, "clips")
    _left_out(summary, console, everything)


def bar_lines(bins: Histogram, width: int = _BAR) -> list[str]:
    """A histogram as lines of text, bars in eighths of a character."""
    labels = [f"{low:,.10g} .. {high:,.10g}" for low, high in zip(bins.edges, bins.edges[1:], strict=False)]
    wide, most = max(map(len, labels)), max(bins.counts)
    lines = []
    for label, count in zip(labels, bins.counts, strict=True):
        eighths = round(8 * width * count / most)
        bar = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
        # A bin that holds something shows something.
        lines.append(f"{label:>{wide}}  {bar or ('▏' if count else '')} {count:,}")
    return lines


def _facts(summary: VersionSummary, console: Console) -> None:
    sizes = summary.shard_sizes()
    table = Table(show_header=False, box=None, title=f"dataset version {summary.version[:12]}", title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "version": summary.version,
        "schema version": str(summary.manifest.schema_version),
        "folder": str(summary.folder),
        "shards": f"{len(sizes):,}, {size_text(sum(sizes))} in all"
        + (f", {size_text(sizes[0])} to {size_text(sizes[-1])} each" if len(sizes) > 1 else ""),
        "logs": _logs(summary),
        **{f"config {path}": str(value) for path, value in flatten(summary.manifest.config).items()},
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    table.add_section()
    for name, value in summary.provenance_lines().items():
        table.add_row(f"{escape(name)}*", escape(value))
    console.print(table)
    console.print("[dim]* provenance: recorded beside the version, not part of it[/dim]\n")


def _logs(summary: VersionSummary) -> str:
    if not summary.logs:
        return f"{len({row['log_id'] for row in summary.clips}):,} (no log index in schema 1)"
    splits = Counter(str(row["split"]) for row in summary.logs)
    frames = sum(int(row["num_frames"]) for row in summary.logs)
    missing = sum(len(row["missing_frames"]) for row in summary.logs)
    parts = ", ".join(f"{count:,} {split}" for split, count in sorted(splits.items()))
    return f"{len(summary.logs):,} ({parts}), {frames:,} frames, {missing:,} of them missing"


def _table(title: str, left: Iterable[str], right: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _counts(summary: VersionSummary) -> Table:
    table = _table("Clips", ("split", "setting"), ("clips", "points", "coloured", "content"))
    groups = summary.groups()
    for group in (*groups, summary.total()) if len(groups) > 1 else groups:
        if group.split == "all":
            table.add_section()
        points = number(group.points), share_text(group.coloured, group.points)
        table.add_row(group.split, group.setting, f"{group.clips:,}", *points, size_text(group.bytes))
    return table


def _flow(total: Group) -> Table:
    table = _table("Flow classes", ("class",), ("points", "share"))
    for kind, count in total.flow.items():
        table.add_row(kind.name.lower().replace("_", " "), number(count), share_text(count, total.points))
    return table


def _clips(summary: VersionSummary, everything: bool) -> Table:
    moving = FLOW_COLUMNS[FlowClass.FOREGROUND_DYNAMIC]
    right = ("frames", "views", "points", "coloured", "moving", "content")
    table = _table("Every clip", ("clip", "split", "shard"), right)
    for row in summary.clips if everything else summary.clips[:FEW]:
        points = row["num_points"]
        table.add_row(
            escape(row["clip_id"]),
            row["split"],
            row["shard"],
            str(row["num_frames"]),
            str(row["num_views"]),
            number(points),
            share_text(row["num_coloured"], points),
            share_text(row[moving], points),
            size_text(row["num_bytes"]),
        )
    return table


def _left_out(summary: VersionSummary, console: Console, everything: bool) -> None:
    left_out = sorted(summary.manifest.left_out.items())
    console.print(f"[bold]Clips left out[/bold]: {len(left_out) or 'none'}")
    for clip_id, reason in left_out if everything else left_out[:FEW]:
        console.print(f"  {escape(clip_id)}: {escape(reason)}", highlight=False)
    _notice(console, len(left_out), everything, "clips left out")


def _notice(console: Console, count: int, everything: bool, what: str) -> None:
    if count > FEW and not everything:
        console.print(f"[yellow]the first {FEW} of {count:,} {what}; --all shows every one[/yellow]")
