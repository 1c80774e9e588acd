"""Headline numbers of a training run: how far it is, how good, how fast."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.metrics.table import BY_KEY
from evaluation.run_folder.rows import Row, number_of, usable_number
from evaluation.run_report.charts import share_of_waiting
from evaluation.run_report.folder import TrainingRun
from evaluation.scoring.validation import BEST_METRIC, BEST_WITHOUT_INTERPOLATION
from store_schema.pages.values import duration, number, share_text

_DECISIVE = BY_KEY[BEST_METRIC.split("/")[1]]
RECENT = 100
"""Steps that "now" means."""


@dataclass(frozen=True, slots=True)
class Card:
    """A number with its name and what to know of it; `value` is empty when there is none."""

    name: str
    value: str
    unit: str
    about: str


@dataclass(frozen=True, slots=True)
class Best:
    """The best early evaluation."""

    place: int
    """Its row."""
    metric: str
    value: float
    step: int


def best_evaluation(evaluations: Sequence[Row]) -> Best | None:
    """The one with the highest `BEST_METRIC`, or `BEST_WITHOUT_INTERPOLATION` where none has it; the first of equals.

    Raises:
        ValueError: a metric is no number.
    """
    for name in (BEST_METRIC, BEST_WITHOUT_INTERPOLATION):
        values = [number_of({**row["metrics"], "step": row["step"]}, name) for row in evaluations]
        known = [(value, -place) for place, value in enumerate(values) if value is not None and value == value]
        if known:
            value, place = max(known)
            return Best(-place, name, value, evaluations[-place]["step"])
    return None


def headline(run: TrainingRun) -> list[Card]:
    """Steps, throughput, best metric, wait for data and memory."""
    rows = run.steps
    return [_progress(run), _throughput(rows), _best(run), _waiting(rows), _memory(rows)]


def left_out(rows: Sequence[Row]) -> str:
    """How many clips were left out as damaged, in words."""
    counts = [(row["step"], usable_number(row, "left_out")) for row in rows]
    if not any(count is not None for _, count in counts):
        return "not recorded"
    hit = [(step, count) for step, count in counts if count]
    if not hit:
        return "none"
    named = ", ".join(f"{step:,}" for step, _ in hit[:10]) + (", ..." if len(hit) > 10 else "")
    return f"{number(sum(count for _, count in hit), 0)} in {len(hit):,} step{'s' if len(hit) > 1 else ''} ({named})"


def _progress(run: TrainingRun) -> Card:
    if not run.steps:
        return Card("Steps done", "", "", "no step has finished yet")
    done, wanted = run.steps[-1]["step"], (run.config or {}).get("steps")
    about = f"{duration(_total(run.steps, 'seconds'))} in steps"
    unit = ""
    if type(wanted) is int:
        unit = f"of {wanted:,}"
        speed = [value for row in run.steps[-RECENT:] if (value := usable_number(row, "seconds")) is not None]
        if done >= wanted:
            about += ", finished"
        elif speed:
            about += f", about {duration((wanted - done) * statistics.fmean(speed))} to go"
    return Card("Steps done", f"{done:,}", unit, about)


def _throughput(rows: Sequence[Row]) -> Card:
    pairs = [(usable_number(row, "samples_per_second"), usable_number(row, "seconds")) for row in rows]
    known = [(rate * seconds, seconds) for rate, seconds in pairs if rate is not None and seconds is not None]
    if not known or not sum(seconds for _, seconds in known):
        return Card("Throughput", "", "", "not recorded")
    whole, recent = (
        sum(clips for clips, _ in part) / sum(seconds for _, seconds in part) for part in (known, known[-RECENT:])
    )
    about = f"all processes, mean of all steps; {_short(recent)} over the last {min(RECENT, len(known))}"
    return Card("Throughput", _short(whole), "clips/s", about)


def _best(run: TrainingRun) -> Card:
    best = best_evaluation(run.evaluations)
    if best is None:
        return Card(f"Best {_DECISIVE.symbol}", "", "", "no early evaluation has scored a view yet")
    role = best.metric.split("/")[0]
    value = number(best.value, _DECISIVE.digits)
    return Card(f"Best {_DECISIVE.symbol}", value, _DECISIVE.unit, f"held-out {role} views, step {best.step:,}")


def _waiting(rows: Sequence[Row]) -> Card:
    share, recent = share_of_waiting(rows), share_of_waiting(rows[-RECENT:])
    if share is None or recent is None:
        return Card("Waiting for data", "", "", "not recorded")
    return Card(
        "Waiting for data",
        share_text(share, 1),
        "",
        f"of the steps' time; {share_text(recent, 1)} of the last {RECENT} steps",
    )


def _memory(rows: Sequence[Row]) -> Card:
    gpu, process = (
        max((value for row in rows if (value := usable_number(row, name)) is not None), default=None)
        for name in ("gpu_mb", "max_rss_mb")
    )
    if gpu is None and process is None:
        return Card("Peak memory", "", "", "not recorded")
    if gpu is None:
        return Card("Peak memory", number((process or 0) / 1e3, 1), "GB", "of the process; no GPU memory was recorded")
    about = "" if process is None else f"; {number(process / 1e3, 1)} GB of the process"
    return Card("Peak memory", number(gpu / 1e3, 1), "GB", f"on the GPU{about}")


def _total(rows: Sequence[Row], name: str) -> float:
    return sum(value for row in rows if (value := usable_number(row, name)) is not None)


def _short(value: float) -> str:
    return number(value, 2) if value < 100 else number(value, 0)
