"""The summary of a version as one HTML file that opens offline, a picture of every clip inside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
from markupsafe import Markup

from pipelines.store_tools.flatten import flatten
from pipelines.store_tools.summary import FLOW_COLUMNS, Group, Row, VersionSummary, known
from pipelines.store_tools.thumbnails import REACH_M, Thumbnails, thumbnails
from store_schema.labels import FlowClass
from store_schema.pages.bar_charts import histogram_chart, pooled, stacked_chart
from store_schema.pages.histogram import histogram
from store_schema.pages.shell import render, write_page
from store_schema.pages.table import Head, Table, plain_table
from store_schema.pages.table import Row as Line
from store_schema.pages.values import ABSENT, number, share_text, size_text
from store_schema.version.dataset import open_dataset

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""

FLOW_STYLES = {
    FlowClass.FOREGROUND_DYNAMIC: ("moving", "foreground, moving"),
    FlowClass.FOREGROUND_STATIC: ("parked", "foreground, still"),
    FlowClass.BACKGROUND_STATIC: ("still", "background"),
    FlowClass.IGNORED: ("ignored", "ignored"),
}
"""Style class and name of each flow class, from the ground of a chart up."""


def write_summary(summary: VersionSummary, path: Path, progress: Progress = lambda done, total: None) -> dict[str, str]:
    """Write the page.

    Args:
        summary: of the version to show.
        path: the HTML file.
        progress: for a progress bar.

    Returns:
        Clips that cannot be shown, with the reason; the page shows the reason in the clip's place.

    Raises:
        CorruptManifestError: manifest or index do not hash to the version.
    """
    dataset = open_dataset(summary.folder.parent.parent, summary.version)
    pictures: dict[str, Thumbnails] = {}
    for clip_id, drawn in thumbnails(dataset, [row["clip_id"] for row in summary.clips]):
        pictures[clip_id] = drawn
        progress(len(pictures), len(summary.clips))
    damaged = {clip_id: drawn.damage for clip_id, drawn in pictures.items() if drawn.damage is not None}
    page = render(
        "pipelines.store_tools/summary_page.html",
        script="pipelines.store_tools/filter.js",
        summary=summary,
        num_logs=len({row["log_id"] for row in summary.clips}),
        num_damaged=len(damaged),
        configuration=list(_configuration(summary).items()),
        groups=_groups(summary),
        flow=_flow(summary.total()),
        charts=_charts(summary),
        logs=_logs(summary),
        left_out=plain_table(("clip", "reason"), sorted(summary.manifest.left_out.items()), left=2),
        across=f"{2 * REACH_M:g}",
        gallery=[(key, list(rows)) for key, rows in groupby(summary.clips, lambda row: (row["split"], row["setting"]))],
        pictures=pictures,
        words=_words,
        flow_bar=_flow_bar,
        moving=FLOW_COLUMNS[FlowClass.FOREGROUND_DYNAMIC],
    )
    write_page(path, page)
    return damaged


def _configuration(summary: VersionSummary) -> dict[str, str]:
    sizes = summary.shard_sizes()
    span = f", {size_text(sizes[0])} to {size_text(sizes[-1])} each" if len(sizes) > 1 else ""
    return {
        "version": summary.version,
        "schema version": str(summary.manifest.schema_version),
        "shards": f"{len(sizes):,}, {size_text(sum(sizes))} in all{span}",
        **{path: _value(value) for path, value in flatten(summary.manifest.config).items()},
    }


def _groups(summary: VersionSummary) -> Table:
    heads = [Head(text, left=text in ("split", "setting")) for text in ("split", "setting", "clips", "points")]
    heads += [Head(text) for text in ("coloured", "moving", "content")]
    rows = [Line(_group_cells(group)) for group in summary.groups()]
    total = [Line(_group_cells(summary.total()), "total")] if len(rows) > 1 else []
    return Table(tuple(heads), (*rows, *total), "Clips")


def _group_cells(group: Group) -> tuple[str, ...]:
    shares = (group.coloured, group.flow[FlowClass.FOREGROUND_DYNAMIC])
    return (
        group.split,
        group.setting,
        number(group.clips),
        number(group.points),
        *(share_text(share, group.points) for share in shares),
        size_text(group.bytes),
    )


def _flow(total: Group) -> Table:
    rows = [
        (name, number(total.flow[kind]), share_text(total.flow[kind], total.points))
        for kind, (_, name) in FLOW_STYLES.items()
    ]
    return plain_table(("class", "points", "share"), rows, title="Points by flow class")


def _charts(summary: VersionSummary) -> list[Markup]:
    clips = summary.clips
    points = [int(row["num_points"]) for row in clips]
    coloured = [100 * row["num_coloured"] / row["num_points"] for row in clips if row["num_points"]]
    sizes = [size / 1e6 for size in known(row["num_bytes"] for row in clips)]
    shards = [size / 1e6 for size in summary.shard_sizes()]
    return [
        histogram_chart("Gaussians (lifted points) a clip", histogram(points, 24, narrowest=1), "points"),
        histogram_chart("Coloured points a clip", histogram(coloured, 24, narrowest=1), "% of the clip's points"),
        _flow_chart(clips),
        histogram_chart("Content of a clip", histogram(sizes, 24), "MB"),
        histogram_chart("Size of a shard", histogram(shards, 24), "MB", "shards"),
    ]


def _flow_chart(clips: Iterable[Row]) -> Markup:
    kinds = {style: name for style, name in FLOW_STYLES.values()}
    counts = [[row[FLOW_COLUMNS[kind]] for kind in FLOW_STYLES] for row in clips]
    held = [row for row in counts if None not in row and sum(row)]
    if not held or any(None in row for row in counts):
        return stacked_chart("Flow classes a clip", kinds, None, "")
    shares, together = pooled(np.array(held, np.int64))
    column = "a column a clip" if together == 1 else f"a column for {together} clips"
    return stacked_chart("Flow classes a clip", kinds, shares, f"{column}, in the order below")


def _logs(summary: VersionSummary) -> Table:
    clips = Counter(row["log_id"] for row in summary.clips)
    rows = [
        (
            str(log["log_id"]),
            str(log["split"]),
            number(clips[log["log_id"]]),
            number(log["num_frames"]),
            number(len(log["missing_frames"])),
            number(len(log["cameras"])),
            ABSENT if log["latitude"] is None else "yes",
        )
        for log in summary.logs
    ]
    return plain_table(("log", "split", "clips", "frames", "missing", "cameras", "GPS"), rows, left=2)


def _words(row: Row, pictures: Thumbnails) -> str:
    """What the filter of the page looks for."""
    words = [str(row[key]) for key in ("clip_id", "log_id", "split", "setting", "shard")]
    return " ".join([*words, *(["damaged"] if pictures.damage is not None else [])]).lower()


def _flow_bar(row: Row) -> list[tuple[str, str, str]]:
    """Style, name and percent of each flow class; nothing where an old version did not count them."""
    counts = {kind: row[column] for kind, column in FLOW_COLUMNS.items()}
    if None in counts.values() or not (total := sum(counts.values())):
        return []
    return [(style, name, f"{100 * counts[kind] / total:.2f}") for kind, (style, name) in FLOW_STYLES.items()]


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
