"""Verbs that look at a store, compare its versions, tidy it and describe it to other tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console

from store_schema.command_line.options import StoreOptions, VersionArgument
from store_schema.command_line.progress import progress_bars

_PIPED_WIDTH = 160
"""Columns of a table that does not go to a terminal."""


@dataclass(frozen=True, slots=True)
class Show(StoreOptions):
    """Show what a dataset version holds: configuration, counts, sizes, distributions, clips. Reads the indexes only."""

    version: VersionArgument = None
    html: Path | None = None
    """Also write one HTML page that opens offline, with a picture of every clip (this reads from the shards)."""
    all: bool = False
    """Every row of long lists, not the first 50."""


@dataclass(frozen=True, slots=True)
class Diff(StoreOptions):
    """Say what differs between two dataset versions; exit status 0 when identical, 1 when they differ."""

    a: Annotated[str, tyro.conf.Positional]
    """Hash of A or its beginning."""
    b: Annotated[str, tyro.conf.Positional]
    """Hash of B or its beginning."""
    other: str | None = None
    """The store of B, where that is another than the store of A."""
    limit: int = 20
    """How many clips with other content are opened to compare their columns; 0 opens none."""
    json: bool = False
    """Print all that was found as one JSON object, as last line."""


@dataclass(frozen=True, slots=True)
class Gc(StoreOptions):
    """Remove unfinished work, stored frames or versions from a store, and nothing that was not asked for."""

    unfinished: bool = False
    """Staging folders, temporary files, versions without manifest, the request of an abandoned build."""
    frames: Literal["all", "old"] | None = None
    """Stored frames, which a later build makes again: all, or those of other configs than the newest version's."""
    versions: tuple[str, ...] = ()
    """Versions by hash or its beginning."""
    keep_latest: int | None = None
    """All versions but this many, the newest by time of build; the one LATEST names always stays."""
    dry_run: bool = False
    """Only list what would go."""
    force: bool = False
    """Remove even the version that LATEST names, when --versions names it."""


@dataclass(frozen=True, slots=True)
class ExportIndex(StoreOptions):
    """Write the clip index for other tools: a row per clip with its shard and the place of every member."""

    out: Path
    """File to write; for wids each split's name is put before the suffix."""
    format: Literal["parquet", "csv", "jsonl", "wids"]
    """wids: the shard index of WebDataset's indexed reader, a file per split."""
    version: VersionArgument = None
    split: Literal["train", "test"] | None = None
    """Only clips of this split."""
    setting: Literal["train_interpolation", "train_future", "evaluation"] | None = None
    """Only clips of this setting."""
    url_prefix: str | None = None
    """Address of the store for those who read the export; without it, paths relative to the file."""


@dataclass(frozen=True, slots=True)
class Leakage(StoreOptions):
    """Do the splits share logs or places? Exit status 1 when they do; logs without GPS are n/a, never clean."""

    version: VersionArgument = None
    metres: float = 5.0
    """Logs of different splits whose GPS tracks come closer than this are reported; 50 to 100 for a shared view."""


def run_show(command: Show, console: Console) -> int:
    """Print the summary of a version and, when asked, write its page."""
    from pipelines.store_tools.summary import summarise
    from pipelines.store_tools.summary_page import write_summary
    from pipelines.store_tools.summary_text import print_summary

    summary = summarise(command.place, command.version)
    print_summary(summary, _output(), command.all)
    if command.html is None:
        return 0
    with progress_bars(console) as bars:
        damaged = write_summary(summary, command.html, partial(bars.update, "clips"))
    for clip_id, reason in damaged.items():
        console.print(f"clip {clip_id} cannot be shown: {reason}", style="red", highlight=False, markup=False)
    console.print(f"wrote {command.html}", highlight=False, markup=False)
    return 1 if damaged else 0


def run_diff(command: Diff, console: Console) -> int:
    """Print what differs."""
    from pipelines.store_tools.diff import diff_versions
    from pipelines.store_tools.diff_text import diff_json_object, diff_lines
    from store_schema.files.paths import location

    other = None if command.other is None else location(command.other, retry=command.retry)
    with progress_bars(console) as bars:
        diff = diff_versions(command.place, command.a, command.b, other, command.limit, partial(bars.update, "clips"))
    for line in diff_lines(diff):
        print(line)
    if command.json:
        print(json.dumps(diff_json_object(diff)))
    return 0 if diff.identical else 1


def run_gc(command: Gc, console: Console) -> int:
    """Remove what was asked for and say how much became free."""
    from pipelines.store_tools.gc import Removal, Scopes, collect
    from store_schema.files.paths import filesystem, relative_name
    from store_schema.pages.values import plural, size_text

    scopes = Scopes(
        unfinished=command.unfinished,
        frames=command.frames,
        versions=command.versions,
        keep_latest=command.keep_latest,
        force=command.force,
    )
    store = command.place
    if filesystem(store) is not None and not command.dry_run:
        console.print("a remote store has no lock: make sure that no build is writing it", style="yellow")

    def report(target: Removal) -> None:
        print(f"{size_text(target.size):>10}  {target.what}  {relative_name(target.path, store)}")

    targets = collect(store, scopes, remove=not command.dry_run, report=report)
    size = sum(target.size for target in targets)
    entries = f"{len(targets):,} {'entry' if len(targets) == 1 else 'entries'}"
    freed = f"{size_text(size)} ({plural(size, 'byte')})"
    print(f"would remove {entries}, {freed}" if command.dry_run else f"removed {entries}, freed {freed}")
    return 0


def run_export_index(command: ExportIndex, console: Console) -> int:
    """Write the index and print the files."""
    from pipelines.store_tools.index_export import export_index
    from store_schema.version.dataset import open_dataset

    dataset = open_dataset(command.place, command.version)
    files = export_index(
        dataset,
        command.out,
        command.format,
        split=command.split,
        setting=command.setting,
        url_prefix=command.url_prefix,
    )
    console.print(f"index of version {dataset.version[:12]}", highlight=False)
    for file in files:
        print(file)
    return 0


def run_leakage(command: Leakage, console: Console) -> int:
    """Print what the splits share."""
    from pipelines.store_tools.leakage.find import find_leakage, log_tracks
    from pipelines.store_tools.leakage.text import report_lines
    from store_schema.version.dataset import LOGS_INDEX, open_dataset, read_index

    dataset = open_dataset(command.place, command.version)
    rows = read_index(dataset.folder, LOGS_INDEX, dataset.manifest)
    gps = {str(row["log_id"]): _track(row) for row in rows}
    gps = {record.log_id: gps.get(record.log_id) for record in dataset.records}
    report = find_leakage(log_tracks(dataset.records, gps), command.metres, dataset.records)
    for line in report_lines(report):
        print(line)
    return 1 if report.leaks else 0


def _track(row: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """GPS of a log [F, 2]; None without, or where the receiver had no fix (it then writes 0, 0)."""
    if row["latitude"] is None or row["longitude"] is None:
        return None
    track = np.stack([np.asarray(row[name], np.float64) for name in ("latitude", "longitude")], axis=1)
    return None if (track == 0).all(axis=1).any() else track


def _output() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_PIPED_WIDTH)
