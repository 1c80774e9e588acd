"""Toy versions with chosen shards, config and provenance, and versions as schema 1 wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from store_schema import tables
from store_schema.clip import Clip
from store_schema.codec import flow_class_counts
from store_schema.files.atomic import write_atomic
from store_schema.hashing import canonical_json, hash_bytes
from store_schema.migrations import index_schema
from store_schema.version.dataset import CLIPS_INDEX, LATEST, LOGS_INDEX, MEMBERS_INDEX, open_dataset, read_index
from store_schema.version.manifest import MANIFEST, SCHEMA, parse_manifest, rows_hash
from store_schema.version.provenance import PROVENANCE
from store_schema.version.shards import write_shard
from store_schema.version.write import write_version
from tests.support.scenes.toy import make_clip
from tests.support.stores.toy_store import encode, toy_log_row

CONFIG = {
    "features": {"view_cameras": ["front_camera"], "neighbours": 3},
    "features_version": 1,
    "source": "pandaset",
    "source_version": 1,
}


def tiny_clip(log_id: str, start: int = 0, setting: str = "evaluation", seed: int = 0) -> Clip:
    clip = make_clip(width=32, height=18, per_frame=30, seed=seed, setting=setting)
    clip_id = f"{log_id}-{setting}-s{start:03d}"
    return replace(clip, record=replace(clip.record, clip_id=clip_id, log_id=log_id, first_frame=start))


def write_shards(
    store: Path,
    shards: Mapping[str, Sequence[Clip]],
    *,
    config: Mapping[str, Any] = CONFIG,
    provenance: Mapping[str, Any] | None = None,
    left_out: Mapping[str, str] | None = None,
    logs: Mapping[str, Mapping[str, Any]] | None = None,
    latest: bool = True,
) -> str:
    """Write a version with these shards; `logs` changes columns of log rows."""
    prepared = store / "prepared"
    written, rows, log_rows = [], [], {}
    for name, clips in shards.items():
        members = {clip.record.clip_id: encode(clip) for clip in clips}
        written.append(write_shard(prepared / "shards" / name, members.items()))
        for clip in clips:
            record, points = clip.record, clip.points
            log_rows[record.log_id] = {
                **toy_log_row(record.log_id, record.split),
                **(logs or {}).get(record.log_id, {}),
            }
            rows.append(
                {
                    **asdict(record),
                    "shard": name,
                    "num_points": len(points),
                    "num_coloured": int((points.camera >= 0).sum()),
                    "num_views": len(clip.views),
                    **flow_class_counts(points.flow_class),
                    "num_bytes": sum(map(len, members[record.clip_id].values())),
                }
            )
    manifest = write_version(
        prepared,
        config=config,
        shards=written,
        clips=rows,
        logs=list(log_rows.values()),
        left_out=left_out or {},
        provenance=provenance or {"built_at": "2026-01-01T00:00:00+00:00"},
    )
    (store / "versions").mkdir(exist_ok=True)
    prepared.rename(store / "versions" / manifest.version)
    if latest:
        write_atomic(store / LATEST, manifest.version.encode())
    return manifest.version


def as_schema_1(store: Path, version: str) -> str:
    """Turn a version into what schema 1 wrote of it (its clips' headers apart); returns its hash."""
    folder = store / "versions" / version
    manifest = parse_manifest((folder / MANIFEST).read_bytes())
    indexes = {}
    for name in (CLIPS_INDEX, MEMBERS_INDEX):
        schema: pa.Schema = index_schema(name, 1)
        rows = [{key: row[key] for key in schema.names} for row in read_index(folder, name, manifest)]
        (folder / name).write_bytes(tables.to_parquet(schema, rows))
        indexes[name] = rows_hash(rows)
    for name in (LOGS_INDEX, SCHEMA):
        (folder / name).unlink()
    raw = json.loads((folder / MANIFEST).read_bytes())
    del raw["schema"]
    data = canonical_json({**raw, "schema_version": 1, "indexes": indexes})
    (folder / MANIFEST).write_bytes(data)
    (folder / PROVENANCE).write_text(json.dumps({"built_at": "2025-01-01T00:00:00+00:00"}))
    folder.rename(folder.with_name(hash_bytes(data)))
    (store / LATEST).write_text(hash_bytes(data))
    return hash_bytes(data)


def flip_member(store: Path, version: str, clip_id: str, name: str) -> None:
    """Change one bit of a member's content."""
    dataset = open_dataset(store, version)
    member = dataset.members[clip_id][name]
    path = dataset.folder / "shards" / member.shard
    data = bytearray(path.read_bytes())
    data[member.offset + member.size // 2] ^= 1
    path.write_bytes(bytes(data))
