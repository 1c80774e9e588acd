"""Commit a build: finished shards become a version by one rename; results of earlier builds are found again."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.build.plan import BuildConfig, LogPlan
from pipelines.build.tasks import ShardDone, write_sidecar
from pipelines.sources.base import LogError
from store_schema.files.atomic import replace_directory
from store_schema.files.paths import copy_object, files_below, filesystem, read_bytes, relative_name, remove_tree
from store_schema.version.dataset import CLIPS_INDEX, MEMBERS_INDEX, SHARDS, read_index, version_folders
from store_schema.version.manifest import MANIFEST, CorruptManifestError, Manifest, parse_manifest
from store_schema.version.provenance import code_commit, package_versions, read_provenance
from store_schema.version.shards import Member, Shard
from store_schema.version.verify import intact_shards, verify_version
from store_schema.version.write import write_version


def commit(
    config: BuildConfig,
    request: str,
    plans: Sequence[LogPlan],
    shards: Sequence[ShardDone],
    staging: Path,
    errors: Sequence[LogError],
) -> Manifest:
    """Write indexes, provenance and manifest beside the shards and rename the folder to its version."""
    prepared = staging / "version"
    planned = {f"{SHARDS}/{done.shard.name}" for done in shards}
    for file in files_below(prepared):
        if relative_name(file, prepared) not in planned:
            file.unlink()
    manifest = write_version(
        prepared,
        config=config.content(),
        shards=[done.shard for done in shards],
        clips=[row for done in shards for row in done.clips],
        logs=[dict(plan.row) for plan in plans if plan.records],
        left_out={clip: reason for plan in plans for clip, reason in plan.left_out.items()},
        provenance=_provenance(config, request, plans, errors),
    )
    folder = config.store / "versions" / manifest.version
    try:
        if not _intact(folder):
            replace_directory(prepared, folder, last=MANIFEST)
    except FileNotFoundError:
        # Another build of the same request may have moved these very files there.
        if not _intact(folder):
            raise
    remove_tree(staging)
    return manifest


def find_finished(store: Path, request: str) -> tuple[str, Manifest] | None:
    """Version and manifest of an intact version that a build of the same request made without errors."""
    for folder, provenance in _answers(store, request):
        if not provenance["failed_logs"] and _intact(folder):
            return folder.name, parse_manifest(read_bytes(folder / MANIFEST), folder.name)
    return None


def adopt_shards(store: Path, request: str, staging: Path) -> int:
    """Take the intact shards of a damaged version of the same request into `staging`; returns how many."""
    for folder, _ in _answers(store, request):
        try:
            manifest = parse_manifest(read_bytes(folder / MANIFEST), folder.name)
            clips = read_index(folder, CLIPS_INDEX, manifest)
            members = [Member(**row) for row in read_index(folder, MEMBERS_INDEX, manifest)]  # type: ignore[arg-type]
        except (CorruptManifestError, ValueError):
            continue
        names = intact_shards(folder, manifest)
        for name in names:
            held = tuple(sorted((m for m in members if m.shard == name), key=lambda member: member.offset))
            entry = manifest.shards[name]
            rows = tuple(row for row in clips if row["shard"] == name)
            _link(folder / SHARDS / name, staging / "version" / SHARDS / name)
            done = ShardDone(Shard(name, int(entry["size"]), str(entry["blake3"]), held), rows)
            write_sidecar(staging / "done" / f"{name}.json", done)
        return len(names)
    return 0


def _answers(store: Path, request: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and provenance of every version that a build of the same request made."""
    for folder in version_folders(store):
        try:
            provenance = read_provenance(folder)
        except CorruptManifestError:
            continue
        if provenance.get("request") == request:
            yield folder, provenance


def _intact(folder: Path) -> bool:
    return folder.is_dir() and next(verify_version(folder), None) is None


def _link(source: Path, target: Path) -> None:
    if filesystem(target) is not None:
        copy_object(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    os.link(source, target)


def _provenance(
    config: BuildConfig, request: str, plans: Sequence[LogPlan], errors: Sequence[LogError]
) -> dict[str, Any]:
    """Who, when and from what: never part of the version."""
    packages = ("numpy", "scipy", "pandas", "pyarrow", "zarr", "dask", "simplejpeg", "blake3", "numba")
    return {
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "built_by": getpass.getuser(),
        "host": platform.node(),
        "machine": platform.platform(),
        "code_commit": code_commit(),
        "packages": package_versions(packages),
        "root": str(config.logs_root),
        "workers": config.workers,
        "request": request,
        "inputs": {plan.log_id: dict(plan.inputs) for plan in plans},
        "failed_logs": {error.log_id: str(error) for error in errors},
    }
