"""The summary of a version as one HTML file that opens offline, a picture of every clip inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path

import numpy as np

from pipelines.pages.charts import histogram_chart, pooled, stacked_chart
from pipelines.pages.readable import ABSENT, count_text, flatten, histogram, plural, share_text, size_text
from pipelines.pages.style import SCRIPT, STYLE
from pipelines.store_tools.page_gallery import FLOW_STYLES, card, gallery
from pipelines.store_tools.summary import FLOW_COLUMNS, Group, Row, VersionSummary, known
from pipelines.store_tools.thumbnails import thumbnails
from store_schema.files.atomic import write_atomic
from store_schema.labels import FlowClass
from store_schema.version.dataset import open_dataset

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_page(summary: VersionSummary, path: Path, progress: Progress = lambda done, total: None) -> dict[str, str]:
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
    cards: dict[str, str] = {}
    damaged: dict[str, str] = {}
    rows = {row["clip_id"]: row for row in summary.clips}
    for clip_id, pictures in thumbnails(dataset, rows):
        if pictures.damage is not None:
            damaged[clip_id] = pictures.damage
        cards[clip_id] = card(rows[clip_id], pictures)
        progress(len(cards), len(rows))
    body = "\n".join(
        [
            _head(summary, len(damaged)),
            f'<div class="pair">{_facts(summary)}{_counts(summary)}</div>',
            _charts(summary),
            _logs(summary),
            _left_out(summary),
            gallery(summary, cards),
            _provenance(summary),
        ]
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Dataset version {escape(summary.version[:12])}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main><script>{SCRIPT}</script></body></html>\n"
    )
    write_atomic(path, page.encode())
    return damaged


def _head(summary: VersionSummary, damaged: int) -> str:
    total = summary.total()
    logs = {row["log_id"] for row in summary.clips}
    tag = f' <span class="tag">{damaged:,} of {total.clips:,} clips cannot be read</span>' if damaged else ""
    return (
        f"<h1>Dataset version {escape(summary.version[:12])}</h1>"
        f'<p class="soft">{plural(total.clips, "clip")} of {plural(len(logs), "log")}, '
        f"{count_text(total.points)} lifted points, {size_text(sum(summary.shard_sizes()))} in shards.{tag}</p>"
    )


def _facts(summary: VersionSummary) -> str:
    sizes = summary.shard_sizes()
    span = f", {size_text(sizes[0])} to {size_text(sizes[-1])} each" if len(sizes) > 1 else ""
    rows = {
        "version": summary.version,
        "schema version": str(summary.manifest.schema_version),
        "shards": f"{len(sizes):,}, {size_text(sum(sizes))} in all{span}",
        **{path: _value(value) for path, value in flatten(summary.manifest.config).items()},
    }
    return f"<section><h2>Version and configuration</h2>{_list(rows)}</section>"


def _counts(summary: VersionSummary) -> str:
    groups = summary.groups()
    heads = ("split", "setting", "clips", "points", "coloured", "moving", "content")
    body = "".join(_group_row(group) for group in groups)
    body += _group_row(summary.total(), "total") if len(groups) > 1 else ""
    total = summary.total()
    flow = "".join(
        f'<tr><td class="l">{escape(name)}</td><td>{count_text(total.flow[kind])}</td>'
        f"<td>{share_text(total.flow[kind], total.points)}</td></tr>"
        for kind, (_, name) in FLOW_STYLES.items()
    )
    return (
        f"<section><h2>Clips</h2>{_table(heads, body, left=2)}"
        f"<h2>Points by flow class</h2>{_table(('class', 'points', 'share'), flow, left=1)}</section>"
    )


def _group_row(group: Group, style: str = "") -> str:
    moving = group.flow[FlowClass.FOREGROUND_DYNAMIC]
    return (
        f'<tr class="{style}"><td class="l">{escape(group.split)}</td><td class="l">{escape(group.setting)}</td>'
        f"<td>{group.clips:,}</td><td>{count_text(group.points)}</td>"
        f"<td>{share_text(group.coloured, group.points)}</td><td>{share_text(moving, group.points)}</td>"
        f"<td>{size_text(group.bytes)}</td></tr>"
    )


def _charts(summary: VersionSummary) -> str:
    clips = summary.clips
    points = [int(row["num_points"]) for row in clips]
    coloured = [100 * row["num_coloured"] / row["num_points"] for row in clips if row["num_points"]]
    sizes = [size / 1e6 for size in known(row["num_bytes"] for row in clips)]
    shards = [size / 1e6 for size in summary.shard_sizes()]
    charts = [
        histogram_chart("Gaussians (lifted points) a clip", histogram(points, 24, narrowest=1), "points"),
        histogram_chart("Coloured points a clip", histogram(coloured, 24, narrowest=1), "% of the clip's points"),
        _flow_chart(clips),
        histogram_chart("Content of a clip", histogram(sizes, 24), "MB"),
        histogram_chart("Size of a shard", histogram(shards, 24), "MB", "shards"),
    ]
    return f'<section><h2>Distributions</h2><div class="charts">{"".join(charts)}</div></section>'


def _flow_chart(clips: Iterable[Row]) -> str:
    kinds = {style: name for style, name in FLOW_STYLES.values()}
    counts = [[row[FLOW_COLUMNS[kind]] for kind in FLOW_STYLES] for row in clips]
    held = [row for row in counts if None not in row and sum(row)]
    if not held or any(None in row for row in counts):
        return stacked_chart("Flow classes a clip", kinds, None, "")
    shares, together = pooled(np.array(held, np.int64))
    note = "a column a clip" if together == 1 else f"a column for {together} clips"
    return stacked_chart("Flow classes a clip", kinds, shares, f"{note}, in the order below")


def _logs(summary: VersionSummary) -> str:
    if not summary.logs:
        return ""
    clips: dict[str, int] = {}
    for row in summary.clips:
        clips[row["log_id"]] = clips.get(row["log_id"], 0) + 1
    body = "".join(
        f'<tr><td class="l">{escape(log["log_id"])}</td><td class="l">{escape(log["split"])}</td>'
        f"<td>{clips.get(log['log_id'], 0):,}</td><td>{log['num_frames']:,}</td><td>{len(log['missing_frames'])}</td>"
        f'<td>{len(log["cameras"])}</td><td class="l">{ABSENT if log["latitude"] is None else "yes"}</td></tr>'
        for log in summary.logs
    )
    table = _table(("log", "split", "clips", "frames", "missing", "cameras", "GPS"), body, left=2)
    return f"<section><details><summary>{plural(len(summary.logs), 'log')}</summary>{table}</details></section>"


def _left_out(summary: VersionSummary) -> str:
    left_out = sorted(summary.manifest.left_out.items())
    if not left_out:
        return '<section><h2>Clips left out</h2><p class="soft">none</p></section>'
    body = "".join(
        f'<tr><td class="l">{escape(clip)}</td><td class="l">{escape(why)}</td></tr>' for clip, why in left_out
    )
    table = _table(("clip", "reason"), body, left=2)
    fold = f"<details><summary>{plural(len(left_out), 'clip')}</summary>{table}</details>"
    return f"<section><h2>Clips left out</h2>{fold}</section>"


def _provenance(summary: VersionSummary) -> str:
    return (
        '<section><h2>Provenance</h2><p class="soft">Recorded beside the version, not part of it: the same inputs '
        f"give the same version anywhere, at any time.</p>{_list(summary.provenance_lines())}</section>"
    )


def _list(rows: Mapping[str, str]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f"<dl>{items}</dl>"


def _table(heads: Iterable[str], body: str, left: int) -> str:
    cells = "".join(f"<th{' class=l' if i < left else ''}>{escape(head)}</th>" for i, head in enumerate(heads))
    return f'<div class="scroll"><table><tr>{cells}</tr>{body}</table></div>'


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
