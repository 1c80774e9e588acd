"""What a dataset version is: a hash over schema, resolved config and shard hashes, and nothing else.

No time, host, worker count or order enters the hash. Who built it, when and from which files is provenance,
kept beside the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store_schema.atomic import write_atomic
from store_schema.codec import check_schema_version
from store_schema.hashing import canonical_json, hash_bytes, hash_json
from store_schema.tables import SCHEMA_VERSION

MANIFEST = "manifest.json"
PROVENANCE = "provenance.json"


class CorruptManifestError(RuntimeError):
    """The manifest's content does not hash to the version it stands for."""


@dataclass(frozen=True, slots=True)
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
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Canonical bytes."""
        return canonical_json(
            {
                "schema_version": self.schema_version,
                "config": dict(self.config),
                "shards": {name: dict(value) for name, value in self.shards.items()},
                "indexes": dict(self.indexes),
                "counts": dict(self.counts),
                "left_out": dict(self.left_out),
            }
        )

    @property
    def version(self) -> str:
        """The dataset version: blake3 of the canonical manifest, 64 hex digits."""
        return hash_bytes(self.to_json())


def write_manifest(folder: Path, manifest: Manifest, provenance: Mapping[str, Any]) -> None:
    """Write provenance first and the manifest last: its presence says the version is complete."""
    write_atomic(folder / PROVENANCE, json.dumps(provenance, indent=1, sort_keys=True).encode())
    write_atomic(folder / MANIFEST, manifest.to_json())


def parse_manifest(data: bytes, version: str | None = None) -> Manifest:
    """A manifest from its bytes.

    Raises:
        CorruptManifestError: the bytes do not hash to `version`, or are no manifest.
        ValueError: a schema version this reader does not know.
    """
    if version is not None and hash_bytes(data) != version:
        raise CorruptManifestError(f"manifest of version {version} hashes to {hash_bytes(data)}")
    try:
        raw = json.loads(data)
        check_schema_version(raw["schema_version"])
        return Manifest(**raw)
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise CorruptManifestError(f"not a manifest: {error}") from error


def rows_hash(rows: list[dict[str, Any]]) -> str:
    """Hash of an index's rows, independent of the file format that carries them."""
    return hash_json(rows)
