"""Write a version's files around its shards; the manifest comes last and says that the version is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from store_schema import tables
from store_schema.files.atomic import write_atomic
from store_schema.hashing import hash_bytes
from store_schema.version.dataset import CLIPS_INDEX, LOGS_INDEX, MEMBERS_INDEX
from store_schema.version.manifest import MANIFEST, SCHEMA, Manifest, rows_hash, schema_json
from store_schema.version.provenance import write_provenance
from store_schema.version.shards import Shard

Row = dict[str, Any]


def write_version(
    folder: Path,
    *,
    config: Mapping[str, Any],
    shards: Sequence[Shard],
    clips: Sequence[Row],
    logs: Sequence[Row],
    left_out: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> Manifest:
    """Write indexes, schema, provenance and manifest of the shards that lie in ``folder/shards``.

    Args:
        folder: where the version is prepared.
        config: what determines the content.
        shards: every shard.
        clips: rows of `tables.CLIPS`, in any order.
        logs: rows of `tables.LOGS`, in any order.
        left_out: clips left out, with the reason.
        provenance: who, when and from what; the version and hashes of the index files are added.
    """
    members = [
        {name: getattr(member, name) for name in tables.MEMBERS.names} for shard in shards for member in shard.members
    ]
    rows: dict[str, list[Row]] = {
        CLIPS_INDEX: sorted(clips, key=lambda row: str(row["clip_id"])),
        MEMBERS_INDEX: sorted(members, key=lambda row: (row["clip_id"], row["member"])),
        LOGS_INDEX: sorted(logs, key=lambda row: str(row["log_id"])),
    }
    counts: dict[str, int] = {}
    clips_in: dict[str, int] = {}
    for row in rows[CLIPS_INDEX]:
        key = f"{row['split']}/{row['setting']}"
        counts[key] = counts.get(key, 0) + 1
        clips_in[row["shard"]] = clips_in.get(row["shard"], 0) + 1
    manifest = Manifest(
        config=config,
        shards={
            shard.name: {"blake3": shard.blake3, "size": shard.size, "clips": clips_in[shard.name]} for shard in shards
        },
        indexes={name: rows_hash(content) for name, content in rows.items()},
        counts=counts,
        left_out=left_out,
        schema=hash_bytes(schema_json()),
    )
    files = {name: tables.to_parquet(tables.FILES[name], content) for name, content in rows.items()}
    for name, data in files.items():
        write_atomic(folder / name, data)
    write_atomic(folder / SCHEMA, schema_json())
    hashes = {name: hash_bytes(data) for name, data in files.items()}
    write_provenance(folder, {**provenance, "version": manifest.version, "files": hashes})
    write_atomic(folder / MANIFEST, manifest.to_json())
    return manifest
