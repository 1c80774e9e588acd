"""Command line of the data side: ``flux4d-build`` and ``python -m pipelines``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
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
from store_schema.files.location import location, read_bytes
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
class List:
    """List the dataset versions of a store."""

    store: Annotated[str, tyro.conf.Positional]
    """The store: folder or URL."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Continue the build of a store that was killed, with the options it was started with."""

    store: Annotated[str, tyro.conf.Positional]
    """The store: folder or URL."""
    workers: int | None = None
    """Other than at the start; 0 runs everything in this process."""
    scheduler: str | None = None
    """Address of an existing Dask scheduler, tcp://host:8786."""


@dataclass(frozen=True, slots=True)
class Verify:
    """Compare every byte of a version, and the store's frames, with their hashes; name what differs, exit status 1."""

    store: Annotated[str, tyro.conf.Positional]
    """The store: folder or URL."""
    version: Annotated[str | None, tyro.conf.Positional] = None
    """Hash or its beginning; the newest when left out."""


def _synth(command: Synth, console: Console) -> int:
    from rich.progress import Progress

    from pipelines.synth import generate

    with Progress(console=console) as progress:
        tasks: dict[str, Any] = {}

        def advance(log_id: str, done: int, total: int) -> None:
            if log_id not in tasks:
                tasks[log_id] = progress.add_task(log_id, total=total)
            progress.update(tasks[log_id], completed=done)

        paths = generate(
            command.out,
            logs=command.logs,
            seconds=command.seconds,
            seed=command.seed,
            preset=command.preset,
            progress=advance,
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

    place = location(command.store)
    return _report(resume(place, workers=command.workers, scheduler=command.scheduler, console=console), console)


def _list(command: List, console: Console) -> int:
    from store_schema.version.dataset import version_folders

    store = location(command.store)
    folders = version_folders(store)
    if not folders:
        raise FileNotFoundError(f"{store} holds no dataset version")
    for folder in folders:
        manifest = parse_manifest(read_bytes(folder / MANIFEST), folder.name)
        size = sum(int(shard["size"]) for shard in manifest.shards.values())
        print(f"{folder.name}  {sum(manifest.counts.values()):5d} clips  {size / 1e6:10.1f} MB")
    return 0


def _verify(command: Verify, console: Console) -> int:
    from rich.progress import Progress

    from store_schema.version.dataset import resolve_version
    from store_schema.version.verify import verify_frames, verify_version

    store = location(command.store)
    version = resolve_version(store, command.version)
    folder = store / "versions" / version
    with Progress(console=console, transient=True) as progress:
        shards, frames = progress.add_task("shards", total=None), progress.add_task("frames", total=None)
        problems = [
            *verify_version(folder, lambda done, total: progress.update(shards, completed=done, total=total)),
            *verify_frames(store, lambda done, total: progress.update(frames, completed=done, total=total)),
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


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    command = tyro.extras.subcommand_cli_from_dict(
        {name: options for name, (options, _) in VERBS.items()},
        args=arguments,
        prog="flux4d-build",
        description="Raw driving logs to a versioned feature store.",
    )
    run = dict(VERBS.values())[type(command)]
    console = Console(stderr=True)
    try:
        return run(command, console)
    except (ValueError, OSError, RuntimeError, LogError) as error:
        reason = str(error)
    except Exception as error:
        # What an object store's client raises has no common class; anything else is a defect and shows its traceback.
        if type(error).__module__.split(".")[0] not in ("botocore", "aiohttp", "google", "gcsfs", "azure"):
            raise
        reason = f"object store: {error}; check its address and credentials, see docs/cluster.md"
    console.print(f"[red]error:[/red] {escape(reason)}", highlight=False)
    return 1


if __name__ == "__main__":
    sys.exit(main())
