"""What differs between two dataset versions: schema, config, logs, clips and, in opened clips, every column."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.store_tools.diff_members import ClipDiff, diff_clip, diff_json, differs
from store_schema.files.paths import Place
from store_schema.hashing import hash_bytes
from store_schema.pages.values import ABSENT
from store_schema.version.dataset import LOGS_INDEX, Dataset, open_dataset, read_index
from store_schema.version.manifest import SCHEMA, CorruptManifestError
from store_schema.version.provenance import read_provenance

Change = tuple[str, Any, Any]
"""Dotted path, value in A, value in B; None stands for what is not there."""


@dataclass(frozen=True, slots=True)
class SetDiff:
    """Names on one side only, and names of both whose content differs."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, str] | None = None
    """What differs, by name; None where it cannot be told."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """Everything found; A is the older side, so ``added`` means in B only."""

    version_a: str
    version_b: str
    schema: tuple[Change, ...]
    """Schema version, tables and columns."""
    config: tuple[Change, ...]
    logs: SetDiff
    shards: SetDiff
    clips: SetDiff
    """Clips added and removed; `changed` holds those that moved to another shard."""
    left_out: tuple[Change, ...]
    """Clips left out with the reason, where this differs."""
    content: tuple[ClipDiff, ...]
    """Clips with other content."""
    opened: int
    """How many of them were opened, from the first."""
    hints: tuple[Change, ...]
    """From the provenance, which is not part of the version: package versions, code, raw files."""

    @property
    def identical(self) -> bool:
        """Both are the same version: the hash covers all content."""
        return self.version_a == self.version_b


def diff_versions(
    store: Place,
    a: str,
    b: str,
    other: Place | None = None,
    limit: int = 20,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VersionDiff:
    """Compare two versions.

    Args:
        store: where A is.
        a: hash of A or its beginning.
        b: hash of B or its beginning.
        other: where B is; None is `store`.
        limit: clips with other content that are opened to compare columns.
        progress: called with (clips compared, clips to compare).

    Raises:
        FileNotFoundError: no such store or version.
        CorruptManifestError: a manifest or index is not what was written.
        ValueError: a negative limit.
    """
    if limit < 0:
        raise ValueError(f"limit must be 0 (open no clip) or more, got {limit}")
    one, two = open_dataset(store, a), open_dataset(store if other is None else other, b)
    ids_a, ids_b = ({record.clip_id for record in side.records} for side in (one, two))
    changed = [clip_id for clip_id in sorted(ids_a & ids_b) if differs(one, two, clip_id)]
    content = []
    for done, clip_id in enumerate(changed):
        content.append(diff_clip(one, two, clip_id, opened=done < limit))
        progress(done + 1, len(changed))
    return VersionDiff(
        version_a=one.version,
        version_b=two.version,
        schema=_schema(one, two),
        config=diff_json(one.manifest.config, two.manifest.config),
        logs=_logs(one, two),
        shards=_named(_shard_hashes(one), _shard_hashes(two), "other bytes"),
        clips=SetDiff(tuple(sorted(ids_b - ids_a)), tuple(sorted(ids_a - ids_b)), _moved(one, two)),
        left_out=diff_json(dict(one.manifest.left_out), dict(two.manifest.left_out)),
        content=tuple(content),
        opened=min(limit, len(changed)),
        hints=_hints(one.folder, two.folder),
    )


def _schema(a: Dataset, b: Dataset) -> tuple[Change, ...]:
    if a.manifest.schema == b.manifest.schema and a.manifest.schema_version == b.manifest.schema_version:
        return ()
    versions: Change = ("schema_version", a.manifest.schema_version, b.manifest.schema_version)
    tables_a, tables_b = _tables(a), _tables(b)
    if tables_a is None or tables_b is None:
        texts = [f"{ABSENT}, no {SCHEMA}" if tables is None else f"in {SCHEMA}" for tables in (tables_a, tables_b)]
        return (versions, ("tables", texts[0], texts[1]))
    changes = diff_json(tables_a, tables_b)
    return (versions, *changes) if versions[1] != versions[2] else changes


def _tables(dataset: Dataset) -> dict[str, Any] | None:
    """Columns by table and name; None in versions of schema 1, which do not describe themselves."""
    if not dataset.manifest.schema:
        return None
    path = dataset.folder / SCHEMA
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise CorruptManifestError(f"{path} is missing") from error
    if hash_bytes(data) != dataset.manifest.schema:
        raise CorruptManifestError(f"{path}: hash differs from the manifest")
    tables = json.loads(data)["tables"]
    return {
        table: {column["name"]: {key: value for key, value in column.items() if key != "name"} for column in columns}
        for table, columns in tables.items()
    }


def _logs(a: Dataset, b: Dataset) -> SetDiff:
    rows_a, rows_b = (
        {str(row["log_id"]): row for row in read_index(side.folder, LOGS_INDEX, side.manifest)} for side in (a, b)
    )
    if not rows_a or not rows_b:  # schema 1 has no log index: the logs are those of the clips
        ids_a, ids_b = ({record.log_id for record in side.records} for side in (a, b))
        return SetDiff(tuple(sorted(ids_b - ids_a)), tuple(sorted(ids_a - ids_b)), None)
    changed = {}
    for log_id in sorted(rows_a.keys() & rows_b.keys()):
        columns = [name for name, value in rows_a[log_id].items() if rows_b[log_id][name] != value]
        if columns:
            changed[log_id] = ", ".join(columns)
    return SetDiff(tuple(sorted(rows_b.keys() - rows_a.keys())), tuple(sorted(rows_a.keys() - rows_b.keys())), changed)


def _moved(a: Dataset, b: Dataset) -> dict[str, str]:
    shards_a, shards_b = (
        {clip_id: next(iter(members.values())).shard for clip_id, members in side.members.items()} for side in (a, b)
    )
    both = sorted(shards_a.keys() & shards_b.keys())
    return {clip: f"{shards_a[clip]} -> {shards_b[clip]}" for clip in both if shards_a[clip] != shards_b[clip]}


def _shard_hashes(dataset: Dataset) -> dict[str, str]:
    return {name: str(shard["blake3"]) for name, shard in dataset.manifest.shards.items()}


def _named(a: Mapping[str, str], b: Mapping[str, str], what: str) -> SetDiff:
    changed = {name: what for name in sorted(a.keys() & b.keys()) if a[name] != b[name]}
    return SetDiff(tuple(sorted(b.keys() - a.keys())), tuple(sorted(a.keys() - b.keys())), changed)


def _hints(folder_a: Path, folder_b: Path) -> tuple[Change, ...]:
    sides: list[dict[str, Any]] = []
    for folder in (folder_a, folder_b):
        try:
            sides.append(read_provenance(folder))
        except CorruptManifestError as error:
            return (("provenance", f"n/a: {error}", f"n/a: {error}"),)
    a, b = sides
    changes = list(diff_json(a.get("packages", {}), b.get("packages", {})))
    if a.get("code_commit") != b.get("code_commit"):
        changes.append(("code_commit", a.get("code_commit"), b.get("code_commit")))
    inputs_a, inputs_b = a.get("inputs", {}), b.get("inputs", {})
    for log_id in sorted(inputs_a.keys() & inputs_b.keys()):
        files_a, files_b = inputs_a[log_id], inputs_b[log_id]
        odd = sum(files_a.get(name) != files_b.get(name) for name in {*files_a, *files_b})
        if odd:
            changes.append(
                (f"raw files of log {log_id}", f"{len(files_a)} files", f"{len(files_b)} files, {odd} differ")
            )
    return tuple(changes)
