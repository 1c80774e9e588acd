"""The report of a training run: one HTML file that opens offline, also while the run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from evaluation.report.colours import error_legend
from evaluation.report.pictures import FULL_ERROR
from evaluation.report.provenance import flat_record
from evaluation.run_folder.files import CONFIG, EVALUATIONS, METRICS, RECORD, REPORT, WEIGHTS
from evaluation.run_report.charts import COST, LEARNING, early_charts, run_charts
from evaluation.run_report.folder import TrainingRun, picture_name, read_training_run
from evaluation.run_report.headline import best_evaluation, headline, left_out
from evaluation.run_report.tables import evaluation_table, everything_table
from store_schema.pages.pictures import Picture, encoded, picture_of_file
from store_schema.pages.shell import render, write_page
from store_schema.pages.values import size_text

MOST_PICTURES = 24
_EXPECTED = ("dataset_version", "started_at", "code_commit", "packages", "hardware", "world_size")
_COUNTS = (
    ("interpolation/views", "interpolation views"),
    ("future/views", "future views"),
    ("flow/points", "flow points"),
)


def write_run_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder of flux4d-train; returns its path.

    Raises:
        ValueError: a file of the run is damaged; names the file and, in a log, the line.
    """
    run = read_training_run(folder)
    record = run.record or {}
    newest = run.evaluations[-1] if run.evaluations else {"counts": {}}
    page = render(
        "evaluation.run_report/page.html",
        run=run,
        files={"metrics": METRICS, "evaluations": EVALUATIONS, "config": CONFIG},
        name=run.folder.resolve().name,
        version=str(record.get("dataset_version") or ""),
        about=list(_about(run)),
        cards=headline(run),
        left_out=left_out(run.steps),
        dumps=[(dump.name, _content(dump)) for dump in run.dumps],
        evaluations=evaluation_table(run.evaluations, best_evaluation(run.evaluations)),
        everything=everything_table(run.evaluations),
        early_charts=list(early_charts(run.evaluations)),
        counts=_counts(newest["counts"]),
        clips=_clips(newest.get("clips")),
        learning=run_charts(run.steps, LEARNING),
        cost=run_charts(run.steps, COST),
        pictures=[_sheet(path) for path in run.pictures[:MOST_PICTURES]],
        error_bar=encoded(error_legend()),
        full_error=f"{FULL_ERROR:g}",
        provenance=list(_provenance(run).items()),
        config=None if run.config is None else json.dumps(run.config, indent=1, sort_keys=True),
    )
    write_page(folder / REPORT, page)
    return folder / REPORT


def _about(run: TrainingRun) -> Iterator[str]:
    if started := (run.record or {}).get("started_at"):
        yield f"started {started}"
    if run.steps and isinstance(run.steps[-1].get("epoch"), int):
        yield f"epoch {run.steps[-1]['epoch']} (the first is 0)"


def _content(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = (f"{path.relative_to(folder)} ({size_text(path.stat().st_size)})" for path in files)
    return ", ".join(sizes) or "empty"


def _clips(listed: object) -> str:
    return ", ".join(map(str, listed)) if isinstance(listed, list) else "not recorded"


def _counts(counts: dict[str, object]) -> str:
    shown = [f"{counts[name]:,} {words}" for name, words in _COUNTS if isinstance(counts.get(name), int)]
    return ", ".join(shown) or "counts that were not recorded"


def _sheet(path: Path) -> tuple[str, Picture | None, str]:
    """Name of a picture, and itself or why it is not shown."""
    try:
        return picture_name(path), picture_of_file(path), ""
    except (OSError, ValueError):
        return picture_name(path), None, f"cannot be read: {path.name}"


def _provenance(run: TrainingRun) -> dict[str, str]:
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
    return lines | {
        "store": str(store) if store else "not recorded",
        "checkpoints": ", ".join(run.checkpoints) or "none yet",
        "weights": f"{weights.name}, {size_text(weights.stat().st_size)}" if weights.is_file() else "none yet",
    }
