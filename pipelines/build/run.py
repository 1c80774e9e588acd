"""Raw logs to a dataset version: inspect, make frames, make shards, commit. Killed at any moment, it continues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from rich.console import Console

from pipelines.build.commit import adopt_shards, commit, find_finished
from pipelines.build.plan import BuildConfig, LogPlan, inspect_log, plan_shards, request_key
from pipelines.build.runner import Runner, open_runner
from pipelines.build.tasks import FramesDone, FrameSource, ShardDone, build_frames, build_shard
from pipelines.sources.base import LogError
from pipelines.sources.registry import get_source
from store_schema.command_line.progress import Bars, progress_bars
from store_schema.files.atomic import remove_litter, write_atomic
from store_schema.files.paths import filesystem, read_bytes, remove_tree
from store_schema.json_dataclass import JsonError, from_json, to_json
from store_schema.version.dataset import LATEST
from store_schema.version.manifest import Manifest

FRAMES_PER_TASK = 8
"""A task covers a range of frames: neighbours share most of the cuboids around them, which smoothed tracks need."""
LOCK = "build.lock"
PENDING = "build.json"
"""The request of a build that has not finished, for `resume`."""

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
    frames_healed: int = 0
    """Stored frames that turned out lost or damaged and were made again."""
    was_finished: bool = False
    """The version was there, whole, before this build."""


def build(config: BuildConfig, console: Console | None = None) -> BuildResult:
    """Build a dataset version; only what is missing is done.

    Raises:
        ValueError: no logs, or not one clip in them.
        RuntimeError: another build is writing this store, or workers died.
    """
    config = config.resolved()
    with lock_store(config.store):
        _remember(config)
        result = _build(config, console or Console(stderr=True))
        write_atomic(config.store / LATEST, result.version.encode())
        (config.store / PENDING).unlink(missing_ok=True)
        remove_litter(config.store)
    return result


def pending_build(store: Path) -> BuildConfig:
    """The request of the build that did not finish.

    Raises:
        FileNotFoundError: every build of this store finished.
        ValueError: the request cannot be read.
    """
    try:
        raw = json.loads(read_bytes(store / PENDING))
    except FileNotFoundError:
        raise FileNotFoundError(f"{store} holds no unfinished build: start one with flux4d-build build") from None
    except ValueError as error:
        raise ValueError(f"{store / PENDING} is torn ({error}): start the build again with its options") from error
    try:
        return from_json(BuildConfig, _today(raw))
    except JsonError as error:
        raise ValueError(
            f"{store / PENDING} is the request of another release ({error}): start the build again with its options"
        ) from error


def _today(request: Any) -> Any:
    """A request with the names of today. A release before this one had the paper's protocol but for the test logs."""
    if not isinstance(request, dict) or "test_logs" not in request or "protocol" in request:
        return request
    rest = {name: value for name, value in request.items() if name != "test_logs"}
    return {**rest, "protocol": {"test_logs": request["test_logs"]}}


def lock_store(store: Path) -> AbstractContextManager[Any]:
    """Hold a local store against a second writer. Remote writers need no lock: what they write is the same.

    Raises:
        RuntimeError: another process holds it.
    """
    if filesystem(store) is not None:
        return nullcontext()
    store.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(store / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(f"another build is writing {store}: wait for it or choose another --out") from error


def _remember(config: BuildConfig) -> None:
    root = config.logs_root
    place = root.resolve() if filesystem(root) is None else root
    request = to_json(replace(config, root=str(place), out=str(config.store)))
    write_atomic(config.store / PENDING, json.dumps(request, indent=1).encode())


def _build(config: BuildConfig, console: Console) -> BuildResult:
    paths = get_source(config.source).logs(config.logs_root, config.logs)
    with open_runner(config.workers, config.scheduler) as runner, progress_bars(console, keep=True) as bars:
        console.print(f"{len(paths)} logs on {runner.description}")
        remove_litter(config.store)
        plans, errors = _inspect(runner, bars, paths, config)
        request = request_key(config, plans)
        staging = config.store / "staging" / request[:16]
        if not errors and (finished := find_finished(config.store, request)) is not None:
            remove_tree(staging)
            folder = config.store / "versions" / finished[0]
            return BuildResult(finished[0], folder, finished[1], 0, 0, (), was_finished=True)
        sources = {plan.log_id: FrameSource.of(plan, config) for plan in plans}
        done = list(_frames(runner, bars, plans, sources))
        failed = {result.log_id: result.error for result in done if result.error is not None}
        errors += failed.values()
        plans = [plan for plan in plans if plan.log_id not in failed]
        if not any(plan.records for plan in plans):
            details = "".join(f"\n  {error}" for error in errors)
            raise ValueError(f"no clip can be built from {config.root}{details}")
        adopt_shards(config.store, request, staging)
        shards = _shards(runner, bars, plans, sources, staging, config)
    manifest = commit(config, request, plans, shards, staging, errors)
    return BuildResult(
        version=manifest.version,
        folder=config.store / "versions" / manifest.version,
        manifest=manifest,
        frames_made=sum(result.made for result in done),
        frames_kept=sum(result.kept for result in done),
        errors=tuple(sorted(errors, key=lambda error: error.log_id)),
        frames_healed=sum(shard.healed for shard in shards),
    )


def _inspect(
    runner: Runner, bars: Bars, paths: Sequence[Path], config: BuildConfig
) -> tuple[list[LogPlan], list[LogError]]:
    plans, errors = [], []
    calls = [(path, config) for path in paths]
    for result in bars.track("logs", runner.map(inspect_log, calls), len(calls)):
        if isinstance(result, LogError):
            errors.append(result)
        else:
            plans.append(result)
    return sorted(plans, key=lambda plan: plan.log_id), errors


def _frames(
    runner: Runner, bars: Bars, plans: Sequence[LogPlan], sources: dict[str, FrameSource]
) -> Iterator[FramesDone]:
    calls = [
        (sources[plan.log_id], plan.frames[start : start + FRAMES_PER_TASK])
        for plan in plans
        for start in range(0, len(plan.frames), FRAMES_PER_TASK)
    ]
    total = sum(len(plan.frames) for plan in plans)
    results = runner.map(build_frames, calls)
    yield from bars.track("frames", results, total, lambda result: result.made + result.kept)


def _shards(
    runner: Runner,
    bars: Bars,
    plans: Sequence[LogPlan],
    sources: dict[str, FrameSource],
    staging: Path,
    config: BuildConfig,
) -> list[ShardDone]:
    shard_plans = plan_shards([record for plan in plans for record in plan.records], config.clips_per_shard)
    calls = [
        (shard, {record.log_id: sources[record.log_id] for record in shard.records}, staging) for shard in shard_plans
    ]
    done = list(bars.track("shards", runner.map(build_shard, calls), len(calls)))
    return sorted(done, key=lambda result: result.shard.name)


def resume(
    store: Path,
    *,
    workers: int | None,
    scheduler: str | None,
    console: Console,
    retry_minutes: float | None = None,
) -> BuildResult:
    """Continue the build of a store that did not finish, with its own request.

    Args:
        store: the store.
        workers: other than the request's when not None.
        scheduler: other than the request's when not None.
        console: for progress.
        retry_minutes: other than the request's when not None.

    Raises:
        FileNotFoundError: every build of this store finished.
    """
    config = replace(pending_build(store), out=store)
    config = config if workers is None else replace(config, workers=workers, scheduler=None)
    config = config if retry_minutes is None else replace(config, retry_minutes=retry_minutes)
    return build(config if scheduler is None else replace(config, scheduler=scheduler), console)
