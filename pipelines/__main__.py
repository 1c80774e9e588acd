"""Command line of the data side: ``flux4d-build`` and ``python -m pipelines``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from pipelines.plan import BuildConfig
from pipelines.sources.base import LogError


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

    store: Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True, slots=True)
class Show:
    """Show what a dataset version holds."""

    store: Annotated[Path, tyro.conf.Positional]
    version: Annotated[str | None, tyro.conf.Positional] = None
    """Hash or its beginning; the newest when left out."""


@dataclass(frozen=True, slots=True)
class Verify:
    """Read every shard of a version and compare it with its hash; exit status 1 when something is wrong."""

    store: Annotated[Path, tyro.conf.Positional]
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
    from pipelines.build import build

    result = build(command, console)
    table = Table(title=f"dataset version {result.version[:12]}")
    table.add_column("split/setting")
    table.add_column("clips", justify="right")
    for key, count in sorted(result.manifest.counts.items()):
        table.add_row(key, str(count))
    console.print(table)
    console.print(f"frames: {result.frames_made} made, {result.frames_kept} already stored")
    if result.manifest.left_out:
        console.print(f"{len(result.manifest.left_out)} clips left out because they touch a missing frame")
    for error in result.errors:
        console.print(f"[red]stopped:[/red] {error}", highlight=False)
    print(result.version)
    return 2 if result.errors else 0


def _list(command: List, console: Console) -> int:
    from store_schema.manifest import MANIFEST, parse_manifest

    folders = sorted((command.store / "versions").glob(f"*/{MANIFEST}"))
    if not folders:
        raise FileNotFoundError(f"{command.store} holds no dataset version")
    for path in folders:
        manifest = parse_manifest(path.read_bytes(), path.parent.name)
        size = sum(int(shard["size"]) for shard in manifest.shards.values())
        print(f"{path.parent.name}  {sum(manifest.counts.values()):5d} clips  {size / 1e6:10.1f} MB")
    return 0


def _show(command: Show, console: Console) -> int:
    from store_schema import tables
    from store_schema.dataset import CLIPS_INDEX, open_dataset

    dataset = open_dataset(command.store, command.version)
    rows = tables.from_parquet(tables.CLIPS, (dataset.folder / CLIPS_INDEX).read_bytes())
    table = Table(title=f"dataset version {dataset.version[:12]}")
    for name in ("clip", "split", "points", "coloured", "views", "shard"):
        table.add_column(name, justify="left" if name in ("clip", "split", "shard") else "right")
    for row in rows:
        share = int(str(row["num_coloured"])) / max(1, int(str(row["num_points"])))
        cells = (row["clip_id"], row["split"], row["num_points"], f"{share:.1%}", row["num_views"], row["shard"])
        table.add_row(*map(str, cells))
    Console().print(table)
    return 0


def _verify(command: Verify, console: Console) -> int:
    from store_schema.dataset import open_dataset

    dataset = open_dataset(command.store, command.version)
    problems = list(dataset.verify())
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{dataset.version}: {len(dataset.manifest.shards)} shards, {len(dataset.records)} clips, all intact")
    return 1 if problems else 0


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    command = tyro.extras.subcommand_cli_from_dict(
        {"build": BuildConfig, "synth": Synth, "ls": List, "show": Show, "verify": Verify},
        args=arguments,
        prog="flux4d-build",
        description="Raw driving logs to a versioned feature store.",
    )
    verbs = {BuildConfig: _build, Synth: _synth, List: _list, Show: _show, Verify: _verify}
    console = Console(stderr=True)
    try:
        return verbs[type(command)](command, console)  # type: ignore[operator, no-any-return]
    except (ValueError, FileNotFoundError, RuntimeError, LogError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False, markup=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
