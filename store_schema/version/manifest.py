"""The manifest of a dataset version: schema, resolved config and shard hashes; its hash is the version.

No time, host, worker count or order enters the hash. Who built it, when and from which files is provenance,
kept beside the manifest (`store_schema.version.provenance`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store_schema.hashing import canonical_json, hash_bytes, hash_json
from store_schema.migrations import check_schema_version, migrate_manifest
from store_schema.tables import SCHEMA_VERSION, describe

MANIFEST = "manifest.json"
SCHEMA = "schema.json"


class CorruptManifestError(RuntimeError):
    """A manifest, index, schema or provenance file is not what was written."""


def schema_json() -> bytes:
    """``schema.json``: every table, column, type, unit and grid, for readers in other languages."""
    return canonical_json(describe())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of ``manifest.json``."""

    config: Mapping[str, Any]
    """Resolved build config, only what determines content."""
    shards: Mapping[str, Mapping[str, Any]]
    """Shard name to {blake3, size, clips}."""
    indexes: Mapping[str, str]
    """Hash of the canonical rows of each index (the Parquet bytes depend on the writer's version, the rows do not)."""
    counts: Mapping[str, int]
    """Clips by ``split/setting``."""
    left_out: Mapping[str, str]
    """Clips left out, with the reason."""
    schema: str
    """blake3 of ``schema.json``; empty in versions of schema 1, which have none."""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Canonical bytes."""
        return canonical_json(
            {
                "schema_version": self.schema_version,
                "schema": self.schema,
                "config": dict(self.config),
                "shards": {name: dict(value) for name, value in self.shards.items()},
                "indexes": dict(self.indexes),
                "counts": dict(self.counts),
                "left_out": dict(self.left_out),
            }
        )

    @property
    def version(self) -> str:
        """The dataset version of a manifest of today's schema: blake3 of its canonical bytes, 64 hex digits."""
        return hash_bytes(self.to_json())


def parse_manifest(data: bytes, version: str | None = None) -> Manifest:
    """A manifest from its bytes.

    Raises:
        CorruptManifestError: the bytes do not hash to `version`, or are no manifest.
        ValueError: a schema version this reader does not know.
    """
    if version is not None and hash_bytes(data) != version:
        raise CorruptManifestError(f"{MANIFEST} of version {version} hashes to {hash_bytes(data)}")
    try:
        raw = json.loads(data)
        check_schema_version(raw["schema_version"])
        return Manifest(**migrate_manifest(raw))
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise CorruptManifestError(f"not a manifest: {error}") from error


def rows_hash(rows: list[dict[str, Any]]) -> str:
    """Hash of an index's rows, independent of the file format that carries them."""
    return hash_json(rows)
