"""Compare two run folders: settings, origin and metrics side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.metrics.table import quantity
from evaluation.run_folder.files import CONFIG, EVALUATIONS, METRICS, RunFiles
from evaluation.run_folder.rows import Row, read_lines
from evaluation.run_folder.seen_frames import CLIPS_SEEN, FRAMES_SEEN, seen_frames
from evaluation.scoring.validation import best_metric
from training.monitor.readable import mean, shown

AVERAGED_STEPS = 50
"""Common steps that means are over."""
_UNCOMPARED = ("out", "resume")
_ORIGIN = ("dataset_version", "code_commit", "world_size", "packages", "hardware")
_ABSENT = "-"
_STEP_KEYS = ("step", "loss", "psnr", "seconds", "data_seconds", "samples_per_second")
_EVALUATION_KEYS = ("step", "weights", "metrics", "clips")
_METRICS = {"loss": ".6g", "PSNR dB": ".3f", "samples/s": ".3f", "data wait %": ".1f"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """What two runs are compared by."""

    path: Path
    config: Mapping[str, Any]
    """Dotted key to value."""
    record: Mapping[str, Any]
    """`run.json`."""
    steps: Mapping[int, Row]
    """Lines of `metrics.jsonl` by step."""
    evaluations: Sequence[Row]
    """Lines of `evaluations.jsonl`; empty when there was none."""
    torn: tuple[str, ...]
    """Files whose last line was cut off."""


def read_run(path: Path) -> ComparedRun:
    """Read a run folder.

    Raises:
        FileNotFoundError: it is none, or its settings or steps are missing.
        ValueError: a file is not JSON; says which and where.
    """
    files = RunFiles(path)
    record, config = files.record(), files.settings()
    if config is None or not (path / METRICS).is_file():
        missing = CONFIG if config is None else METRICS
        raise FileNotFoundError(f"{path / missing} is missing: {path} is not a whole run folder of flux4d-train")
    steps, torn_steps = _read_lines(path / METRICS, _STEP_KEYS)
    evaluations, torn_evaluations = _read_lines(path / EVALUATIONS, _EVALUATION_KEYS)
    return ComparedRun(
        path=path,
        config={key: value for key, value in _dotted(config) if key not in _UNCOMPARED},
        record=record,
        steps={row["step"]: row for row in steps},
        evaluations=evaluations,
        torn=(*torn_steps, *torn_evaluations),
    )


def compare_runs(a: Path, b: Path, console: Console) -> None:
    """Print how two runs differ.

    Raises:
        FileNotFoundError: one is not a run folder.
        ValueError: a file in one cannot be read.
    """
    first, second = read_run(a), read_run(b)
    for name, run in (("A", first), ("B", second)):
        last = f"{max(run.steps):,} steps" if run.steps else "no step"
        console.print(Text(f"{name}  {run.path}  {last}"), soft_wrap=True)
        for torn in run.torn:
            console.print(Text(f"   the last line of {torn} is cut off and left out", style="yellow"), soft_wrap=True)
    console.print()
    _print_differences(console, "settings", first.config, second.config)
    _print_differences(console, "origin", _origin(first, second), _origin(second, first))
    console.print(_metrics_table(first, second))
    console.print(Text(first_difference(first, second) + "\n"), soft_wrap=True)
    if first.evaluations or second.evaluations:
        console.print(_evaluation_table(first, second))
        if len({tuple(row["clips"]) for run in (first, second) for row in run.evaluations}) > 1:
            console.print(Text("these early evaluations are not all of the same clips", style="yellow"))
    else:
        console.print(Text("no early evaluations", style="dim"))


def first_difference(a: ComparedRun, b: ComparedRun) -> str:
    """The first common step whose loss has other bits, in words."""
    common = sorted(a.steps.keys() & b.steps.keys())
    for step in common:
        losses = [run.steps[step]["loss"] for run in (a, b)]  # None where every clip was left out
        if _bits(losses[0]) != _bits(losses[1]):
            text = f"the loss first differs at step {step:,}: A {losses[0]!r}, B {losses[1]!r}"
            clips = [run.steps[step].get("clips") for run in (a, b)]
            return text if clips[0] == clips[1] else f"{text}; A trained on {clips[0]}, B on {clips[1]}"
    return f"the loss is identical over {len(common):,} common steps" if common else "the runs have no step in common"


def _bits(loss: float | None) -> str | None:
    return None if loss is None else float(loss).hex()


def _read_lines(path: Path, keys: Sequence[str]) -> tuple[list[Row], tuple[str, ...]]:
    """Rows of a log, and its name when the last line was cut off by a kill."""
    if not path.is_file():
        return [], ()
    lines = read_lines(path)
    for number, (_, row) in enumerate(lines, start=1):
        if missing := [key for key in keys if key not in row]:
            raise ValueError(f"{path}, line {number}: {', '.join(missing)} missing: written by another version?")
    whole = sum(len(line) + 1 for line, _ in lines)
    return [row for _, row in lines], (path.name,) if whole < path.stat().st_size else ()


def _dotted(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _dotted(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _origin(run: ComparedRun, other: ComparedRun) -> dict[str, Any]:
    origin = dict(_dotted({name: run.record[name] for name in _ORIGIN if name in run.record}))
    seen, others = (set(each.record.get(CLIPS_SEEN, ())) for each in (run, other))
    if resumed := run.record.get("resumed"):
        origin["resumed at"] = ", ".join(f"{each['step']:,}" for each in resumed)
    origin["clips trained on"] = _counted(seen, others)
    if all(FRAMES_SEEN in each.record for each in (run, other)):
        # Clips of one name need not span the same frames: their protocols may differ.
        origin["frames trained on"] = _counted(*(set(seen_frames(each.record)) for each in (run, other)))
    return origin


def _counted(own: set[Any], other: set[Any]) -> str:
    return f"{len(own):,}" + (f", {len(own - other):,} only here" if own != other else "")


def _print_differences(console: Console, title: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    keys = [key for key in dict.fromkeys([*a, *b]) if a.get(key, _ABSENT) != b.get(key, _ABSENT)]
    if not keys:
        console.print(Text(f"{title}: the same\n"))
        return
    table = _table(f"{title}: what differs", "", "A", "B")
    for key in keys:
        table.add_row(Text(key), *(Text(_setting(run.get(key, _ABSENT))) for run in (a, b)))
    console.print(table)
    console.print()


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _metrics_table(a: ComparedRun, b: ComparedRun) -> Table:
    common = sorted(a.steps.keys() & b.steps.keys())
    table = _table("training", "", "A", "B", "B - A")
    for column in table.columns[1:]:
        column.justify = "right"
    if common:
        recent = common[-AVERAGED_STEPS:]
        _add_metrics(table, f"step {common[-1]:,}, the last of both", *([run.steps[common[-1]]] for run in (a, b)))
        title = f"mean of {len(recent):,} common steps, {recent[0]:,} to {recent[-1]:,}"
        _add_metrics(table, title, *([run.steps[step] for step in recent] for run in (a, b)))
    ends = [max(run.steps, default=None) for run in (a, b)]
    rows = [[run.steps[end]] if end is not None else [] for run, end in zip((a, b), ends, strict=True)]
    if ends[0] != ends[1]:
        _add_metrics(table, f"at the end, step {shown(ends[0], ',')} and {shown(ends[1], ',')}", *rows)
    return table


def _add_metrics(table: Table, title: str, a: Sequence[Row], b: Sequence[Row]) -> None:
    table.add_row(Text(title, style="bold"))
    left, right = _values(a), _values(b)
    for name, form in _METRICS.items():
        one, other = left[name], right[name]
        difference = other - one if one is not None and other is not None else None
        table.add_row(f"  {name}", shown(one, form), shown(other, form), shown(difference, f"+{form}"))
    table.add_section()


def _values(rows: Sequence[Row]) -> dict[str, float | None]:
    """Metrics over steps; rates and shares are ratios of sums."""
    if not rows:
        return dict.fromkeys(_METRICS)
    seconds = sum(row["seconds"] for row in rows)
    samples = sum(row["samples_per_second"] * row["seconds"] for row in rows)
    waited = sum(row["data_seconds"] for row in rows)
    values = [mean([row[name] for row in rows]) for name in ("loss", "psnr")]
    values += [samples / seconds, 100 * waited / seconds] if seconds else [None, None]
    return dict(zip(_METRICS, values, strict=True))


def _evaluation_table(a: ComparedRun, b: ComparedRun) -> Table:
    """Best and last early evaluation of each run."""
    chosen = [row for run in (a, b) for row in (_best(run.evaluations), _last(run.evaluations))]
    table = _table("early evaluations", "", "A best", "A last", "B best", "B last")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("step", *(shown(None if row is None else row["step"], ",") for row in chosen))
    table.add_row("weights", *("n/a" if row is None else row["weights"] for row in chosen))
    names = dict.fromkeys(name for row in chosen if row is not None for name in row["metrics"])
    for name in names:
        known = quantity(name)
        form = ".4g" if known is None else f".{known.metric.digits}f"
        table.add_row(name, *(shown(None if row is None else _metric(row, name), form) for row in chosen))
    return table


def _best(evaluations: Sequence[Row]) -> Row | None:
    scored = [(_metric(row, best_metric(row["metrics"])), row) for row in evaluations]
    found = [(score, row) for score, row in scored if score is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _metric(row: Row, name: str) -> float | None:
    value = row["metrics"].get(name)
    return None if value is None else float(value)  # infinity may be written as text


def _last(evaluations: Sequence[Row]) -> Row | None:
    return evaluations[-1] if evaluations else None


def _table(title: str, *heads: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        min_width=len(title),
    )
    table.add_column(heads[0], style="dim", no_wrap=True)
    for head in heads[1:]:
        table.add_column(head, overflow="fold")
    return table
