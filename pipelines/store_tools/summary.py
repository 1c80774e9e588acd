"""What a dataset version holds, from its manifest, indexes and provenance alone: no shard is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store_schema.files.paths import Place
from store_schema.labels import FlowClass
from store_schema.pages.values import plural
from store_schema.version.dataset import CLIPS_INDEX, LOGS_INDEX, open_manifest, read_index
from store_schema.version.manifest import CorruptManifestError, Manifest
from store_schema.version.provenance import read_provenance

Row = Mapping[str, Any]

FLOW_COLUMNS = {kind: f"num_{kind.name.lower()}" for kind in FlowClass}
"""Column of the clip index that counts a flow class."""


@dataclass(frozen=True, slots=True)
class Group:
    """Clips of one split and setting; what an old version did not record is None."""

    split: str
    setting: str
    clips: int
    points: int | None
    coloured: int | None
    flow: Mapping[FlowClass, int | None]
    bytes: int | None


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """One version as its indexes describe it."""

    folder: Path
    version: str
    manifest: Manifest
    clips: tuple[Row, ...]
    """Rows of the clip index, by split, setting and id."""
    logs: tuple[Row, ...]
    """Rows of the log index, by id; none in versions of schema 1, which have no such index."""
    provenance: Mapping[str, Any]
    """When, by whom, from what; empty when it cannot be read."""
    provenance_problem: str | None
    """Why it cannot be read."""

    def groups(self) -> tuple[Group, ...]:
        """One per split and setting, in order."""
        keys = sorted({(str(row["split"]), str(row["setting"])) for row in self.clips})
        return tuple(
            _group(split, setting, [row for row in self.clips if (row["split"], row["setting"]) == (split, setting)])
            for split, setting in keys
        )

    def total(self) -> Group:
        """All clips."""
        return _group("all", "", self.clips)

    def shard_sizes(self) -> tuple[int, ...]:
        """Bytes of each shard, ascending."""
        return tuple(sorted(int(shard["size"]) for shard in self.manifest.shards.values()))

    def provenance_lines(self) -> dict[str, str]:
        """Who made it, when, from what: short values only, the long ones as counts."""
        if self.provenance_problem is not None:
            return {"provenance": f"cannot be read: {self.provenance_problem}"}
        values = dict(self.provenance)
        inputs, packages = values.pop("inputs", None), values.pop("packages", None)
        lines = {
            name.replace("_", " "): str(value)
            for name in ("built_at", "built_by", "host", "machine", "code_commit", "root", "workers")
            if (value := values.get(name)) is not None
        }
        if inputs:
            lines["raw files"] = f"{plural(sum(map(len, inputs.values())), 'file')} of {plural(len(inputs), 'log')}"
        if packages:
            lines["packages"] = ", ".join(f"{name} {number}" for name, number in sorted(packages.items()))
        for log_id, error in sorted(values.get("failed_logs", {}).items()):
            lines[f"stopped log {log_id}"] = str(error)
        return lines


def summarise(store: Place, version: str | None = None) -> VersionSummary:
    """Read what describes a version.

    Args:
        store: folder or URL of the store.
        version: hash or prefix of it; None is the newest build.

    Raises:
        FileNotFoundError: no such store or version.
        CorruptManifestError: manifest or index do not hash to the version.
    """
    folder, manifest = open_manifest(store, version)
    clips = read_index(folder, CLIPS_INDEX, manifest)
    provenance, problem = {}, None
    try:
        provenance = read_provenance(folder)
    except CorruptManifestError as error:
        problem = str(error)
    return VersionSummary(
        folder=folder,
        version=folder.name,
        manifest=manifest,
        clips=tuple(sorted(clips, key=lambda row: (str(row["split"]), str(row["setting"]), str(row["clip_id"])))),
        logs=tuple(read_index(folder, LOGS_INDEX, manifest)),
        provenance=provenance,
        provenance_problem=problem,
    )


def known(values: Iterable[Any]) -> list[int]:
    """`values` when every one was recorded, else none of them."""
    found = list(values)
    return [] if None in found else [int(value) for value in found]


def _group(split: str, setting: str, rows: Iterable[Row]) -> Group:
    rows = list(rows)

    def total(column: str) -> int | None:
        counts = known(row[column] for row in rows)
        return sum(counts) if counts else None

    return Group(
        split=split,
        setting=setting,
        clips=len(rows),
        points=total("num_points"),
        coloured=total("num_coloured"),
        flow={kind: total(column) for kind, column in FLOW_COLUMNS.items()},
        bytes=total("num_bytes"),
    )
