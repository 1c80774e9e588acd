"""Raw logs to a dataset version: plan, run, resume, commit."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.plan import BuildConfig, LogPlan, plan_logs, plan_shards, staging_key
from pipelines.runner import Runner, open_runner
from pipelines.sources.base import LogError
from pipelines.tasks import FramesDone, ShardDone, build_frames, build_shard, hash_inputs, log_group
from store_schema import tables
from store_schema.atomic import remove_litter, write_atomic
from store_schema.clip import ClipRecord
from store_schema.dataset import CLIPS_INDEX, LATEST, MEMBERS_INDEX
from store_schema.hashing import hash_json
from store_schema.manifest import MANIFEST, Manifest, rows_hash, write_manifest
from store_schema.provenance import code_commit, package_versions

FRAMES_PER_TASK = 4
"""A task covers a range of frames: large enough to amortise opening a log, small enough to balance."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did."""

    version: str
    folder: Path
    manifest: Manifest
    frames_made: int
    frames_kept: int
    errors: tuple[LogError, ...]
    """One per log that was stopped by bad input; all other logs are in the version."""


def build(config: BuildConfig, console: Console | None = None) -> BuildResult:
    """Build a dataset version; only what is missing is done.

    Raises:
        ValueError: no logs, or not one clip in them.
        RuntimeError: another build is writing this store.
    """
    console = console or Console(stderr=True)
    config.out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(config.out / "build.lock")
    try:
        with lock.acquire(timeout=0):
            return _build(config, console)
    except Timeout as error:
        raise RuntimeError(f"another build is writing {config.out}: wait for it or choose another --out") from error


def _build(config: BuildConfig, console: Console) -> BuildResult:
    plans, errors = plan_logs(config)
    with open_runner(config.workers, config.scheduler) as runner, _progress(console) as progress:
        console.print(f"{len(plans)} logs, {sum(len(plan.records) for plan in plans)} clips on {runner.description}")
        inputs, hash_errors = _hash_all(runner, progress, plans)
        plans = [plan for plan in plans if plan.log_id in inputs]
        digests = {log_id: hash_json(files) for log_id, files in inputs.items()}
        done = list(_frames(runner, progress, plans, digests, config))
        failed = {result.log_id: result.error for result in done if result.error is not None}
        errors += [*hash_errors, *failed.values()]
        plans = [plan for plan in plans if plan.log_id not in failed]
        records = [record for plan in plans for record in plan.records]
        if not records:
            details = "".join(f"\n  {error}" for error in errors)
            raise ValueError(f"no clip can be built from {config.root}{details}")
        used = {plan.log_id: digests[plan.log_id] for plan in plans}
        shards, staging = _shards(runner, progress, plans, records, used, config)
    provenance = _provenance(config, {plan.log_id: inputs[plan.log_id] for plan in plans}, errors)
    manifest = _commit(config, plans, shards, staging, provenance)
    return BuildResult(
        version=manifest.version,
        folder=config.out / "versions" / manifest.version,
        manifest=manifest,
        frames_made=sum(result.made for result in done),
        frames_kept=sum(result.kept for result in done),
        errors=tuple(sorted(errors, key=lambda error: error.log_id)),
    )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def _tracked(progress: Progress, name: str, results: Iterable[T], total: int, steps: Any = None) -> Iterator[T]:
    task = progress.add_task(name, total=total)
    for result in results:
        progress.advance(task, 1 if steps is None else steps(result))
        yield result


def _hash_all(
    runner: Runner, progress: Progress, plans: list[LogPlan]
) -> tuple[dict[str, dict[str, str]], list[LogError]]:
    hashes, errors = {}, []
    calls = [(plan.path,) for plan in plans]
    for log_id, result in _tracked(progress, "hashes", runner.map(hash_inputs, calls), len(calls)):
        if isinstance(result, LogError):
            errors.append(result)
        else:
            hashes[log_id] = result
    return hashes, errors


def _frames(
    runner: Runner, progress: Progress, plans: list[LogPlan], digests: dict[str, str], config: BuildConfig
) -> Iterator[FramesDone]:
    calls = []
    for plan in plans:
        remove_litter(log_group(config.frames_folder, plan.log_id))
        for start in range(0, len(plan.frames), FRAMES_PER_TASK):
            frames = plan.frames[start : start + FRAMES_PER_TASK]
            calls.append((plan.path, frames, config.features, digests[plan.log_id], config.frames_folder))
    total = sum(len(plan.frames) for plan in plans)
    results = runner.map(build_frames, calls)
    yield from _tracked(progress, "frames", results, total, lambda result: result.made + result.kept)


def _shards(
    runner: Runner,
    progress: Progress,
    plans: list[LogPlan],
    records: list[ClipRecord],
    inputs: dict[str, str],
    config: BuildConfig,
) -> tuple[list[ShardDone], Path]:
    shard_plans = plan_shards(records, config.clips_per_shard)
    staging = config.out / "staging" / staging_key(config, shard_plans, inputs)
    remove_litter(staging)
    remove_litter(staging / "shards")
    roots = {plan.log_id: plan.path for plan in plans}
    calls = [
        (shard, {record.log_id: roots[record.log_id] for record in shard.records}, config.frames_folder, staging)
        for shard in shard_plans
    ]
    done = list(_tracked(progress, "shards", runner.map(build_shard, calls), len(calls)))
    return sorted(done, key=lambda result: result.shard.name), staging


def _commit(
    config: BuildConfig, plans: list[LogPlan], shards: list[ShardDone], staging: Path, provenance: dict[str, Any]
) -> Manifest:
    """Write indexes and manifest beside the shards and rename the folder to its version."""
    clips = sorted((row for shard in shards for row in shard.clips), key=lambda row: row["clip_id"])
    members = [
        {name: getattr(member, name) for name in tables.MEMBERS.names}
        for shard in shards
        for member in shard.shard.members
    ]
    members.sort(key=lambda row: (row["clip_id"], row["member"]))
    counts: dict[str, int] = {}
    for row in clips:
        key = f"{row['split']}/{row['setting']}"
        counts[key] = counts.get(key, 0) + 1
    manifest = Manifest(
        config=config.content(),
        shards={
            done.shard.name: {"blake3": done.shard.blake3, "size": done.shard.size, "clips": len(done.clips)}
            for done in shards
        },
        indexes={CLIPS_INDEX: rows_hash(clips), MEMBERS_INDEX: rows_hash(members)},
        counts=counts,
        left_out={clip: reason for plan in plans for clip, reason in plan.left_out.items()},
    )
    folder = config.out / "versions" / manifest.version
    if not (folder / MANIFEST).is_file():
        for done in shards:
            (staging / f"{done.shard.name}.json").unlink(missing_ok=True)
        write_atomic(staging / CLIPS_INDEX, tables.to_parquet(tables.CLIPS, clips))
        write_atomic(staging / MEMBERS_INDEX, tables.to_parquet(tables.MEMBERS, members))
        write_manifest(staging, manifest, provenance)
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging, folder)
    else:
        shutil.rmtree(staging)
    write_atomic(config.out / LATEST, manifest.version.encode())
    return manifest


def _provenance(config: BuildConfig, inputs: dict[str, dict[str, str]], errors: list[LogError]) -> dict[str, Any]:
    """Who, when and from what: never part of the version."""
    packages = ("numpy", "scipy", "pandas", "pyarrow", "zarr", "dask", "simplejpeg", "blake3", "numba")
    return {
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "built_by": getpass.getuser(),
        "host": platform.node(),
        "machine": platform.platform(),
        "code_commit": code_commit(),
        "packages": package_versions(packages),
        "root": str(config.root.resolve()),
        "workers": config.workers,
        "inputs": inputs,
        "failed_logs": {error.log_id: str(error) for error in errors},
    }
