"""Command line of the data side: ``flux4d-build`` and ``python -m pipelines``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.build.plan import BuildConfig
from pipelines.inspect.command import Inspect, run_inspect
from pipelines.sources.base import LogError
from pipelines.store_tools import commands
from store_schema.command_line.door import parse_verbs, run_door
from store_schema.command_line.options import STORE, StoreArgument, StoreOptions, VersionArgument, lasting, store_first
from store_schema.command_line.progress import progress_bars
from store_schema.files.paths import location, read_bytes
from store_schema.version.manifest import MANIFEST, parse_manifest

if TYPE_CHECKING:
    from pipelines.build.run import BuildResult


@dataclass(frozen=True, slots=True)
class Synth:
    """Write generated driving logs in PandaSet layout: a street with exact ground truth."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder for the logs."""
    logs: int = 2
    """How many logs."""
    seconds: float = 3.6
    """Length of each log; frames come at 10 Hz."""
    seed: int = 0
    """The same seed gives the same bytes."""
    preset: Literal["small", "large"] = "small"
    """small: 480x270 images and a thinned LiDAR; large: 1920x1080 and the full beam pattern."""


@dataclass(frozen=True, slots=True)
class List(StoreOptions):
    """List the dataset versions of a store."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Continue the build of a store that was killed, with the options it was started with."""

    store: StoreArgument
    workers: int | None = None
    """Other than at the start; 0 runs everything in this process."""
    scheduler: str | None = None
    """Address of an existing Dask scheduler, tcp://host:8786."""
    retry_minutes: float | None = None
    """Other than at the start: how long a remote store that does not answer is waited for, at every read."""


@dataclass(frozen=True, slots=True)
class Verify(StoreOptions):
    """Compare every byte of a version, and the store's frames, with their hashes; name what differs, exit status 1."""

    version: VersionArgument = None


def _synth(command: Synth, console: Console) -> int:
    from pipelines.synth import generate

    with progress_bars(console, keep=True) as bars:
        paths = generate(
            command.out,
            logs=command.logs,
            seconds=command.seconds,
            seed=command.seed,
            preset=command.preset,
            progress=bars.update,
        )
    for path in paths:
        print(path)
    return 0


def _build(command: BuildConfig, console: Console) -> int:
    from pipelines.build.run import build

    return _report(build(command, console), console)


def _report(result: BuildResult, console: Console) -> int:
    table = Table(title=f"dataset version {result.version[:12]}")
    table.add_column("split/setting")
    table.add_column("clips", justify="right")
    for key, count in sorted(result.manifest.counts.items()):
        table.add_row(key, str(count))
    console.print(table)
    if result.was_finished:
        console.print("this very version was there already, every byte of it intact: nothing to do")
    else:
        console.print(f"frames: {result.frames_made} made, {result.frames_kept} already stored")
    if result.frames_healed:
        console.print(f"{result.frames_healed} stored frames were damaged or lost and were made again")
    if result.manifest.left_out:
        console.print(f"{len(result.manifest.left_out)} clips left out because they touch a missing frame")
    for error in result.errors:
        console.print(f"[red]stopped:[/red] {escape(str(error))}", highlight=False)
    print(result.version)
    return 2 if result.errors else 0


def _resume(command: Resume, console: Console) -> int:
    from pipelines.build.run import resume

    minutes = command.retry_minutes
    store = location(command.store, retry=None if minutes is None else lasting(minutes))
    result = resume(store, workers=command.workers, scheduler=command.scheduler, console=console, retry_minutes=minutes)
    return _report(result, console)


def _list(command: List, console: Console) -> int:
    from store_schema.version.dataset import version_folders

    store = command.place
    folders = version_folders(store)
    if not folders:
        raise FileNotFoundError(f"{store} holds no dataset version")
    for folder in folders:
        manifest = parse_manifest(read_bytes(folder / MANIFEST), folder.name)
        size = sum(int(shard["size"]) for shard in manifest.shards.values())
        print(f"{folder.name}  {sum(manifest.counts.values()):5d} clips  {size / 1e6:10.1f} MB")
    return 0


def _verify(command: Verify, console: Console) -> int:
    from store_schema.version.dataset import resolve_version
    from store_schema.version.verify import verify_frames, verify_version

    store = command.place
    version = resolve_version(store, command.version)
    folder = store / "versions" / version
    with progress_bars(console) as bars:
        problems = [
            *verify_version(folder, partial(bars.update, "shards")),
            *verify_frames(store, partial(bars.update, "frames")),
        ]
    for problem in problems:
        print(problem)
    if not problems:
        manifest = parse_manifest(read_bytes(folder / MANIFEST), version)
        print(f"{version}: {len(manifest.shards)} shards, {sum(manifest.counts.values())} clips, all intact")
    return 1 if problems else 0


VERBS: dict[str, tuple[type, Callable[[Any, Console], int]]] = {
    "build": (BuildConfig, _build),
    "resume": (Resume, _resume),
    "ls": (List, _list),
    "show": (commands.Show, commands.run_show),
    "verify": (Verify, _verify),
    "diff": (commands.Diff, commands.run_diff),
    "gc": (commands.Gc, commands.run_gc),
    "export-index": (commands.ExportIndex, commands.run_export_index),
    "leakage": (commands.Leakage, commands.run_leakage),
    "inspect": (Inspect, run_inspect),
    "synth": (Synth, _synth),
}
"""Verb to its options and what runs it."""


_STORE_OPTIONS = {
    "build": (*STORE, "--out"),
    **{name: STORE for name, (options, _) in VERBS.items() if "store" in (field.name for field in fields(options))},
}
"""Verb to the options that may name its store, which comes first otherwise."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    options = {name: each for name, (each, _) in VERBS.items()}
    about = "Raw driving logs to a versioned feature store."

    def parse(words: list[str]) -> Any:
        return parse_verbs("flux4d-build", about, options, store_first(words, _STORE_OPTIONS))

    def run(command: Any) -> int:
        return dict(VERBS.values())[type(command)](command, Console(stderr=True))

    return run_door("flux4d-build", parse, run, arguments, expected=(LogError,))


if __name__ == "__main__":
    sys.exit(main())
