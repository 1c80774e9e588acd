"""The report of a training run: one HTML file that opens offline, also while the run goes on."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path

from PIL import Image

from evaluation.pages.style import STYLE
from evaluation.report.pictures import FULL_ERROR, error_legend
from evaluation.report.provenance import flat_record
from evaluation.run_folder.files import CONFIG, EVALUATIONS, METRICS, RECORD, REPORT, WEIGHTS
from evaluation.run_report.charts import COST, LEARNING, Plot, early_charts, run_charts
from evaluation.run_report.folder import TrainingRun, picture_name, read_training_run
from evaluation.run_report.headline import best_evaluation, headline, left_out
from evaluation.run_report.tables import evaluation_table, everything_table
from store_schema.files.atomic import write_atomic

MOST_PICTURES = 24
_EXPECTED = ("dataset_version", "started_at", "code_commit", "packages", "hardware", "world_size")


def write_run_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder of flux4d-train; returns its path.

    Raises:
        ValueError: a file of the run is damaged; names the file and, in a log, the line.
    """
    run = read_training_run(folder)
    parts = [
        _head(run),
        _dumps(run),
        _evaluations(run),
        _charts(run, "Learning", LEARNING),
        _charts(run, "Time and memory", COST),
        _pictures(run),
        _provenance(run),
        _config(run),
    ]
    path = folder / REPORT
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Flux4D training run {escape(folder.resolve().name)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )
    # JSON can hold halves of characters, which UTF-8 cannot: they are shown as they were written.
    write_atomic(path, text.encode("utf-8", "backslashreplace"))
    return path


def _head(run: TrainingRun) -> str:
    record = run.record or {}
    version = record.get("dataset_version")
    about = [f"dataset <code>{escape(str(version)[:16])}</code>" if version else "dataset not recorded"]
    if record.get("started_at"):
        about.append(f"started {escape(str(record['started_at']))}")
    if run.steps and isinstance(run.steps[-1].get("epoch"), int):
        about.append(f"epoch {run.steps[-1]['epoch']} (the first is 0)")
    cards = "".join(
        f'<div class="card"><div class="name">{escape(card.name)}</div>'
        f'<div class="value{"" if card.value else " none-yet"}">{escape(card.value or "n/a")}'
        f"{f' <small>{escape(card.unit)}</small>' if card.unit else ''}</div>"
        f'<div class="about">{escape(card.about)}</div></div>'
        for card in headline(run)
    )
    return (
        f'<h1>Training run {escape(run.folder.resolve().name)}</h1><p class="soft">{", ".join(about)}</p>'
        f'<div class="cards">{cards}</div>'
        f'<p class="soft">Clips left out because their stored bytes are damaged: {escape(left_out(run.steps))}.</p>'
    )


def _dumps(run: TrainingRun) -> str:
    if not run.dumps:
        return ""
    listed = "".join(
        f"<dt><code>{escape(dump.name)}</code></dt><dd>{escape(_content(dump))}</dd>" for dump in run.dumps
    )
    return (
        '<section><h2>Losses that were not finite</h2><p class="warn">The run met a loss or gradient that is not '
        f"finite; each folder below <code>dumps</code> holds what reproduces it.</p><dl>{listed}</dl></section>"
    )


def _content(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = (f"{path.relative_to(folder)} ({_bytes(path.stat().st_size)})" for path in files)
    return ", ".join(sizes) or "empty"


def _bytes(size: int) -> str:
    return f"{size:,} B" if size < 10_000 else f"{size / 1e6:,.2f} MB"


def _evaluations(run: TrainingRun) -> str:
    if not run.evaluations:
        return f"<section><h2>Early evaluations</h2>{_none(f'{EVALUATIONS} has no early evaluation.')}</section>"
    last = run.evaluations[-1]
    charts = "".join(f"<div>{chart}</div>" for chart in early_charts(run.evaluations))
    listed = last.get("clips")
    clips = ", ".join(map(str, listed)) if isinstance(listed, list) else "not recorded"
    return (
        f"<section><h2>Early evaluations</h2>{evaluation_table(run.evaluations, best_evaluation(run.evaluations))}"
        f'<p class="soft">The newest rests on {_counts(last["counts"])}. Clips: {escape(clips)}. The best value of a '
        f'column is blue; the best evaluation has the highest PSNR.</p><div class="charts">{charts}</div>'
        f"<details><summary>Every metric and count</summary>{everything_table(run.evaluations)}</details></section>"
    )


def _counts(counts: dict[str, object]) -> str:
    named = (
        ("interpolation/views", "interpolation views"),
        ("future/views", "future views"),
        ("flow/points", "flow points"),
    )
    shown = [f"{counts[name]:,} {words}" for name, words in named if isinstance(counts.get(name), int)]
    return ", ".join(shown) or "counts that were not recorded"


def _pictures(run: TrainingRun) -> str:
    if not run.pictures:
        return f"<section><h2>Pictures</h2>{_none('No early evaluation has drawn pictures.')}</section>"
    shown = run.pictures[:MOST_PICTURES]
    count = f", the first {len(shown)} of {len(run.pictures)}" if len(shown) < len(run.pictures) else ""
    figures = "".join(
        f'<figure class="sheet"><figcaption>{escape(picture_name(path))}</figcaption>'
        f'<div class="thirds"><span>image</span><span>rendering</span><span>absolute error</span></div>'
        f"{_sheet(path)}</figure>"
        for path in shown
    )
    bar = io.BytesIO()
    error_legend().save(bar, "PNG")
    legend = f"<span>{_img(bar.getvalue(), 'png', 'error colours', 'bar')}absolute error 0 to {FULL_ERROR:g}</span>"
    return (
        f'<section><h2>Pictures of step {run.pictures_step:,}</h2><p class="soft">Held-out views{count}.</p>'
        f'<div class="legend">{legend}</div>{figures}</section>'
    )


def _sheet(path: Path) -> str:
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()  # to the end: it may be cut off
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return _none(f"cannot be read: {path.name}")
    return _img(data, "jpeg", picture_name(path))


def _charts(run: TrainingRun, title: str, plots: tuple[Plot, ...]) -> str:
    if not run.steps:
        return f"<section><h2>{title}</h2>{_none(f'{METRICS} has no step.')}</section>"
    charts, missing = run_charts(run.steps, plots)
    drawn = "".join(f"<div>{chart}</div>" for chart in charts)
    note = f'<p class="soft">Not drawn: {escape(", ".join(missing))}.</p>' if missing else ""
    return f'<section><h2>{title}</h2><div class="charts">{drawn}</div>{note}</section>'


def _provenance(run: TrainingRun) -> str:
    if run.record is None:
        lines = {"run": f"{RECORD} is missing"}
    else:
        known = flat_record(run.record)
        lines = {name.replace("_", " "): known.pop(name, "not recorded") for name in _EXPECTED}
        lines |= {name.replace("_", " "): text for name, text in known.items()}
        seen = run.record.get("clips_seen")
        lines["training clips"] = f"{len(seen):,}" if isinstance(seen, list) else "not recorded"
    store = (run.config or {}).get("store")
    weights = run.folder / WEIGHTS
    lines |= {
        "store": str(store) if store else "not recorded",
        "checkpoints": ", ".join(run.checkpoints) or "none yet",
        "weights": f"{weights.name}, {_bytes(weights.stat().st_size)}" if weights.is_file() else "none yet",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines.items())
    return f"<section><h2>Where it comes from</h2><dl>{listed}</dl></section>"


def _config(run: TrainingRun) -> str:
    if run.config is None:
        return f"<section><h2>Configuration</h2>{_none(f'{CONFIG} is missing.')}</section>"
    text = json.dumps(run.config, indent=1, sort_keys=True)
    return (
        "<section><h2>Configuration</h2><details><summary>Resolved configuration of the newest start</summary>"
        f"<pre>{escape(text)}</pre></details></section>"
    )


def _none(text: str) -> str:
    return f'<p class="none">{escape(text)}</p>'


def _img(data: bytes, kind: str, alt: str, css_class: str = "") -> str:
    with Image.open(io.BytesIO(data)) as image:
        size = f'width="{image.width}" height="{image.height}"'
    encoded = base64.b64encode(data).decode()
    named = f' class="{css_class}"' if css_class else ' style="height:auto"'
    return f'<img src="data:image/{kind};base64,{encoded}" alt="{escape(alt, quote=True)}" {size}{named}>'
