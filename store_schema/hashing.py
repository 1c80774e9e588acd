"""Hashes and canonical JSON: what a dataset version is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blake3 import blake3

HASH_CHARS = 64
"""Hex digits of a blake3 hash, the only hash this store uses."""


def hash_bytes(data: bytes | memoryview) -> str:
    """blake3 of `data` as 64 hex digits."""
    return str(blake3(data).hexdigest())


def hash_file(path: Path) -> str:
    """blake3 of a file's content as 64 hex digits, read in pieces."""
    hasher = blake3()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            hasher.update(piece)
    return str(hasher.hexdigest())


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no blanks, UTF-8, no NaN or infinity.

    Raises:
        ValueError: a float is NaN or infinite.
        TypeError: a value has no JSON form.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def hash_json(value: Any) -> str:
    """blake3 of the canonical JSON of `value`."""
    return hash_bytes(canonical_json(value))


def hash_sources(*folders: Path) -> str:
    """One hash of all Python files that lie in `folders` (not below them): a cache key for what this code makes.

    To be drawn when the code is loaded: what is edited later is not what runs.
    """
    files = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    return hash_json([[f"{path.parent.name}/{path.name}", hash_file(path)] for path in files])
