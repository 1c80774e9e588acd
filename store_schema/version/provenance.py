"""Provenance: code commit, package versions, inputs. Recorded beside a version, never hashed into it."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from store_schema.files.atomic import write_atomic
from store_schema.files.paths import read_bytes
from store_schema.files.retry import ConnectionLostError
from store_schema.hashing import canonical_json, hash_json
from store_schema.version.manifest import CorruptManifestError

PROVENANCE = "provenance.json"


def code_commit() -> str | None:
    """Commit of this code (with ``-dirty`` when changed), None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those of `names` that are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def cpu_model() -> str:
    """Name of the processor; not every architecture gives it in /proc/cpuinfo."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1].strip() if found is not None else platform.processor() or platform.machine()


def write_provenance(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write ``provenance.json`` with its own hash: outside the version, and still every flipped bit is found."""
    content = {"blake3": hash_json(provenance), "provenance": dict(provenance)}
    write_atomic(folder / PROVENANCE, canonical_json(content))


def read_provenance(folder: Path) -> dict[str, Any]:
    """The provenance of a version.

    Raises:
        CorruptManifestError: missing, or not what was written.
        ConnectionLostError: a remote store that did not answer.
    """
    path = folder / PROVENANCE
    try:
        data = read_bytes(path)
        raw: Any = json.loads(data)
    except ConnectionLostError:
        raise
    except (OSError, ValueError) as error:
        raise CorruptManifestError(f"{path}: {error}") from error
    if not isinstance(raw, dict) or not {"blake3", "provenance"} <= set(raw):
        if isinstance(raw, dict) and "built_at" in raw:  # schema 1 wrote it without a hash
            return raw
        raise CorruptManifestError(f"{path}: holds no provenance")
    try:
        intact = hash_json(raw["provenance"]) == raw["blake3"] and canonical_json(raw) == data
    except ValueError:  # a number or a text that has no canonical form
        intact = False
    if not intact:
        raise CorruptManifestError(f"{path}: does not match its hash")
    return dict(raw["provenance"])
