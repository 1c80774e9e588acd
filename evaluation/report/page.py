"""The report: one HTML file that opens offline, every picture inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from itertools import groupby
from pathlib import Path

from PIL import Image

from evaluation.metrics.table import BY_KEY
from evaluation.pages.charts import line_chart
from evaluation.pages.style import STYLE
from evaluation.report.columns import FLOW_COLUMNS
from evaluation.report.definitions import DEFINITIONS
from evaluation.report.pictures import (
    FAR_M,
    FULL_ERROR,
    FULL_SPEED_MPS,
    NEAR_M,
    TRUTH,
    Picture,
    PictureIndex,
    depth_legend,
    error_legend,
    wheel_legend,
)
from evaluation.report.provenance import RunInfo
from evaluation.report.tables import (
    COST_COLUMNS,
    SUMMARY_COLUMNS,
    Row,
    ScoreTable,
    clip_flow_table,
    clip_table,
    detail_tables,
    summary_table,
)
from evaluation.scoring.results import Evaluation

_KINDS = (("image", "Image"), ("error", "Absolute error"), ("depth", "Depth"), ("velocity", "Rendered velocity"))


def write_report(path: Path, evaluation: Evaluation, pictures: PictureIndex, folder: Path, run_info: RunInfo) -> None:
    """Write the report.

    Args:
        path: The HTML file.
        evaluation: What was measured.
        pictures: Pictures to embed.
        folder: Where the picture files lie.
        run_info: Where the numbers come from.

    Raises:
        FileNotFoundError: a picture of the index is missing.
    """
    parts = [
        _head(evaluation, run_info),
        _headline(evaluation),
        _details(evaluation),
        _pictures(evaluation, pictures, folder),
        _training(run_info),
        _definitions(evaluation),
        _provenance(evaluation, run_info),
    ]
    title = f"Flux4D evaluation {run_info.dataset_version[:12]}"
    path.write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n",
        encoding="utf-8",
    )


def _head(evaluation: Evaluation, info: RunInfo) -> str:
    clips = {row.clip_id: row.seen for row in evaluation.clips}
    seen = sum(clips.values())
    tags = []
    if seen:
        tags.append(f'<span class="tag">{seen} of {len(clips)} clips seen in training</span>')
    if seen < len(clips):
        tags.append(f'<span class="tag unseen">{len(clips) - seen} of {len(clips)} clips unseen</span>')
    unusual = ""
    if evaluation.dataset_options:
        unusual = f'<p class="warn">Dataset not built by the defaults: {escape(evaluation.dataset_options)}.</p>'
    return (
        "<h1>Flux4D evaluation</h1>"
        f'<p class="soft">{len(clips)} clips, {evaluation.width} by {evaluation.height} pixels, '
        f"dataset <code>{escape(info.dataset_version[:16])}</code> {' '.join(tags)}</p>"
        f"<p>{escape(evaluation.protocol)}</p>{unusual}"
    )


def _headline(evaluation: Evaluation) -> str:
    methods = "".join(f"<dt>{escape(m.name)}</dt><dd>{escape(m.description)}</dd>" for m in evaluation.methods)
    seen_note = (
        '<p class="soft">A clip counts as <em>seen</em> when it shares a frame with a clip of the training: its '
        "numbers say how well the scene was learned by heart, not how well the method does on a new street.</p>"
        if any(row.seen for row in evaluation.clips)
        else ""
    )
    table = _table(summary_table("Results", evaluation, SUMMARY_COLUMNS))
    return f"<section>{table}<dl>{methods}</dl>{seen_note}</section>"


def _details(evaluation: Evaluation) -> str:
    per_clip = [
        clip_table("Per clip", evaluation, SUMMARY_COLUMNS),
        clip_flow_table("Scene flow per clip", evaluation, FLOW_COLUMNS),
        clip_table("Cost per clip", evaluation, COST_COLUMNS),
    ]
    return (
        f"<section>{''.join(map(_table, detail_tables(evaluation)))}"
        f"<details><summary>Every clip</summary>{''.join(map(_table, per_clip))}</details></section>"
    )


def _pictures(evaluation: Evaluation, index: PictureIndex, folder: Path) -> str:
    clips = list(dict.fromkeys(picture.clip_id for picture in index.pictures))
    if not clips:
        return ""
    legend = (
        '<div class="legend">'
        f"<span>{_embedded(depth_legend(), 'depth colours', 'bar')}depth {NEAR_M:g} to {FAR_M:g} m, logarithmic</span>"
        f"<span>{_embedded(error_legend(), 'error colours', 'bar')}absolute error 0 to {FULL_ERROR:g}</span>"
        f"<span>{_embedded(wheel_legend(), 'velocity wheel')}</span>"
        f"<span>velocity: colour is direction (+x right, +y up, first ego frame),<br>"
        f"saturation is speed, full from {FULL_SPEED_MPS:g} m/s; white stands still</span></div>"
    )
    total = len({row.clip_id for row in evaluation.clips})
    count = "" if len(clips) == total else f'<p class="soft">The first {len(clips)} of {total} clips.</p>'
    return f"<section><h2>Pictures</h2>{count}{legend}</section>" + "".join(
        _clip_pictures(clip_id, evaluation, index, folder) for clip_id in clips
    )


def _clip_pictures(clip_id: str, evaluation: Evaluation, index: PictureIndex, folder: Path) -> str:
    rows = [row for row in evaluation.clips if row.clip_id == clip_id]
    seen = any(row.seen for row in rows)
    tag = '<span class="tag">seen in training</span>' if seen else '<span class="tag unseen">unseen</span>'
    names = [TRUTH, *(method.name for method in evaluation.methods)]
    columns = f'<div class="grid" style="grid-template-columns:92px repeat({len(names)},1fr)">'
    heads = "<div></div>" + "".join(f'<div class="head">{escape(name)}</div>' for name in names)
    parts = [f"<section><h2>{escape(clip_id)} {tag}</h2>"]
    for frame, role in index.frames(clip_id):
        parts.append(f"<h3>{escape(role)} frame {frame}</h3>{columns}{heads}")
        for kind, title in _KINDS:
            parts.append(f'<div class="side">{title}</div>')
            for name in names:
                parts.append(_cell(index.find(clip_id, name, kind, frame), folder, kind, name))
        parts.append("</div>")
    above = [p for p in index.pictures if p.clip_id == clip_id and p.kind == "birds_eye"]
    if above:
        parts.append(f"<h3>From above, frame {above[0].frame}</h3>")
        parts.append(f'<div class="grid" style="grid-template-columns:repeat({len(above)},1fr)">')
        for picture in above:
            what = (
                "annotated motion of both LiDARs' points"
                if picture.method == TRUTH
                else "Gaussians, moved to this frame"
            )
            parts.append(
                f"<figure>{_file(folder, picture)}<figcaption>{escape(picture.method)}: {what}; "
                "arrows half a second long; outlines are ground-truth boxes, dark ones move</figcaption></figure>"
            )
        parts.append("</div>")
    return "".join(parts) + "</section>"


def _cell(picture: Picture | None, folder: Path, kind: str, method: str) -> str:
    if picture is not None:
        caption = "LiDAR returns" if (kind, method) == ("depth", TRUTH) else ""
        return f"<figure>{_file(folder, picture)}{f'<figcaption>{caption}</figcaption>' if caption else ''}</figure>"
    return "<div></div>" if method == TRUTH else '<div class="none">not drawn</div>'


def _training(info: RunInfo) -> str:
    if not info.curves:
        return ""
    units = {name: metric.unit for name, metric in BY_KEY.items()}
    charts = "".join(f"<div>{line_chart(curve, units.get(curve.name, ''))}</div>" for curve in info.curves)
    return f'<section><h2>Training</h2><div class="charts">{charts}</div></section>'


def _definitions(evaluation: Evaluation) -> str:
    rows = "".join(
        f"<dt>{escape(name)}{f' [{escape(unit)}]' if unit else ''}</dt><dd>{escape(text)}</dd>"
        for name, unit, text in DEFINITIONS
    )
    notes = list(evaluation.notes)
    # The same points are left out for every method: one row a clip counts them.
    without = sum({row.clip_id: row.flow_without_next_sweep for row in evaluation.clips}.values())
    if without:
        notes.append(f"{without:,} flow points were left out: the clip ends before their frame's next sweep.")
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    left_out = f"<h3>n/a and left out</h3><ul>{listed}</ul>" if notes else ""
    return f"<section><h2>What the numbers mean</h2><dl>{rows}</dl>{left_out}</section>"


def _provenance(evaluation: Evaluation, info: RunInfo) -> str:
    lines = {
        "dataset version": info.dataset_version,
        "store": info.store,
        "weights": f"{info.weights} (blake3 {info.weights_hash})" if info.weights else "none",
        **{f"files of {name}": text for name, text in info.files.items()},
        "rasteriser": evaluation.backend,
        **{f"evaluated on: {name}": text for name, text in info.machine.items()},
        **{f"training: {name}": text for name, text in info.record.items()},
        "training clips": f"{len(info.clips_seen)}",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines.items())
    config = (
        f"<details><summary>Training configuration</summary><pre>{escape(info.config)}</pre></details>"
        if info.config
        else ""
    )
    clips = (
        f"<details><summary>Training clips</summary><pre>{escape(chr(10).join(info.clips_seen))}</pre></details>"
        if info.clips_seen
        else ""
    )
    scene = f"<details><summary>Scene settings</summary><pre>{escape(info.scene)}</pre></details>" if info.scene else ""
    return f"<section><h2>Where it comes from</h2><dl>{listed}</dl>{config}{scene}{clips}</section>"


def _table(table: ScoreTable) -> str:
    spans = [(group, len(list(items))) for group, items in groupby(table.groups)]
    first = {sum(count for _, count in spans[:index]) for index in range(len(spans))}
    grouped = ""
    if any(group for group, _ in spans):
        cells = "".join(f'<th class="group first" colspan="{count}">{escape(group)}</th>' for group, count in spans)
        grouped = f'<tr><th colspan="{len(table.label_heads)}"></th>{cells}</tr>'
    heads = "".join(f'<th class="l">{escape(head)}</th>' for head in table.label_heads)
    heads += "".join(
        f'<th class="{"first" if index in first else ""}">{escape(head)}<br><small>{escape(unit)}</small></th>'
        for index, (head, unit) in enumerate(zip(table.heads, table.units, strict=True))
    )
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in table.notes)
    body = "".join(_table_row(row, first, new) for row, new in _with_breaks(table.rows))
    return (
        f'<h2>{escape(table.title)}</h2><div class="scroll"><table><thead>{grouped}<tr class="heads">{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>{notes}"
    )


def _with_breaks(rows: Iterable[Row]) -> Iterable[tuple[Row, bool]]:
    """Rows, with a mark where another group of clips begins (the label that is not the method's)."""
    last: str | None = None
    for row in rows:
        label = row.labels[0] if len(row.labels) > 2 else row.labels[1]
        yield row, last is not None and label != last
        last = label


def _table_row(row: Row, first: set[int], new: bool) -> str:
    cells = "".join(f'<td class="l">{escape(label)}</td>' for label in row.labels)
    for index, (cell, best) in enumerate(zip(row.cells, row.best, strict=True)):
        names = " ".join(name for name, on in (("first", index in first), ("na", cell == "n/a")) if on)
        text = f"<b>{escape(cell)}</b>" if best else escape(cell)
        cells += f'<td class="{names}">{text}</td>' if names else f"<td>{text}</td>"
    return f"<tr{' class=next' if new else ''}>{cells}</tr>"


def _file(folder: Path, picture: Picture) -> str:
    path = folder / picture.file
    kind = "png" if path.suffix == ".png" else "jpeg"
    alt = f"{picture.method} {picture.kind} frame {picture.frame}"
    return _img(path.read_bytes(), kind, alt, f' width="{picture.width}" height="{picture.height}" style="height:auto"')


def _embedded(image: Image.Image, alt: str, css_class: str = "") -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _img(buffer.getvalue(), "png", alt, f' class="{css_class}"' if css_class else "")


def _img(data: bytes, kind: str, alt: str, attributes: str) -> str:
    encoded = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{encoded}" alt="{escape(alt, quote=True)}"{attributes}>'
