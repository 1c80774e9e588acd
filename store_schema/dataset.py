"""Open a dataset version and read clips by key, every byte checked against its hash.

Layout of a store::

    STORE/LATEST                            version hash of the newest build
    STORE/frames/{config key}/{log}/        frame store
    STORE/versions/{hash}/manifest.json     the version; provenance.json and schema.json beside it
    STORE/versions/{hash}/clips.parquet     clip index
    STORE/versions/{hash}/logs.parquet      the logs: split, frames, GPS
    STORE/versions/{hash}/members.parquet   (clip, member) -> shard, offset, size, hash
    STORE/versions/{hash}/shards/*.tar      WebDataset shards
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from store_schema import tables
from store_schema.clip import Clip, ClipRecord
from store_schema.codec import decode_clip, record_from_json
from store_schema.hashing import HASH_CHARS
from store_schema.location import Place, location, read_range
from store_schema.manifest import MANIFEST, CorruptManifestError, Manifest, parse_manifest, rows_hash
from store_schema.migrations import index_schema, migrate_rows
from store_schema.shards import CorruptShardError, Member, check_member

CLIPS_INDEX = "clips.parquet"
MEMBERS_INDEX = "members.parquet"
LOGS_INDEX = "logs.parquet"
INDEXES = (CLIPS_INDEX, MEMBERS_INDEX, LOGS_INDEX)
SHARDS = "shards"
LATEST = "LATEST"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version, opened for reading. Cheap to pickle; files are opened per read.

    Reads raise on the first damaged byte; `store_schema.reader.ClipReader` can drop and count damaged clips instead.
    """

    folder: Path
    version: str
    manifest: Manifest
    records: tuple[ClipRecord, ...]
    """All clips, sorted by id."""
    members: Mapping[str, Mapping[str, Member]]
    """Clip id to member name to place."""

    def select(self, split: str | None = None, setting: str | None = None) -> tuple[ClipRecord, ...]:
        """Records of one split and setting; None means any."""
        return tuple(
            record
            for record in self.records
            if (split is None or record.split == split) and (setting is None or record.setting == setting)
        )

    def read_member(self, clip_id: str, name: str) -> bytes:
        """One member's bytes.

        Raises:
            KeyError: no such clip or member.
            CorruptShardError: the bytes are not what was written.
        """
        member = self._members_of(clip_id)[name]
        path = self.folder / SHARDS / member.shard
        try:
            data = read_range(path, member.offset, member.size)
        except FileNotFoundError as error:
            raise CorruptShardError(f"shard {path} is missing: clip {clip_id}, member {name} cannot be read") from error
        return check_member(data, member)

    def read(self, clip_id: str, cameras: Sequence[str] | None = None) -> Clip:
        """One clip, with the images of `cameras` (all when None).

        Raises:
            KeyError: no such clip.
            CorruptShardError: stored bytes are not what was written.
        """
        names = tuple(self._members_of(clip_id))
        return decode_clip(lambda name: self.read_member(clip_id, name), names, cameras)

    def _members_of(self, clip_id: str) -> Mapping[str, Member]:
        try:
            return self.members[clip_id]
        except KeyError:
            raise KeyError(f"no clip {clip_id!r} in version {self.version[:12]}; it has {len(self.records)}") from None


def version_folders(store: Path) -> list[Path]:
    """Folders of all complete versions of a store, sorted: those that hold a manifest under their own name."""
    found = (path.parent for path in (store / "versions").glob(f"*/{MANIFEST}"))
    return sorted((folder for folder in found if not folder.name.startswith(".")), key=str)


def resolve_version(store: Path, version: str | None = None) -> str:
    """The full hash meant by `version` (a prefix is enough; None is the newest build).

    Raises:
        FileNotFoundError: no store, no version, or no match; says what is there.
        CorruptManifestError: ``LATEST`` holds no hash.
    """
    versions = [folder.name for folder in version_folders(store)]
    if not versions:
        raise FileNotFoundError(
            f"{store} holds no dataset version (no versions/*/{MANIFEST}): "
            f"run flux4d-build build --root LOGS --out {store}"
        )
    if version is None:
        return _newest(store, versions)
    matches = [name for name in versions if name.startswith(version)]
    if len(matches) != 1:
        found = [name[:12] for name in versions]
        raise FileNotFoundError(f"version {version!r} matches {len(matches)} of {found} in {store}")
    return matches[0]


def _newest(store: Path, versions: Sequence[str]) -> str:
    latest = store / LATEST
    advice = f"name one of the versions {[name[:12] for name in versions]}"
    if not latest.is_file():
        raise FileNotFoundError(f"{latest} is missing: {advice}")
    version = latest.read_bytes().decode("ascii", errors="replace").rstrip("\n")
    if re.fullmatch(f"[0-9a-f]{{{HASH_CHARS}}}", version) is None:
        raise CorruptManifestError(f"{latest} holds {version!r}, no version hash: {advice}")
    if version not in versions:
        raise FileNotFoundError(f"{latest} names version {version}, which has no {MANIFEST}: {advice}")
    return version


def open_manifest(store: Place, version: str | None = None) -> tuple[Path, Manifest]:
    """Folder and manifest of a version: what can be said of it without its indexes.

    Raises:
        FileNotFoundError: no such store or version.
        CorruptManifestError: the manifest does not hash to the version.
    """
    place = location(store)
    folder = place / "versions" / resolve_version(place, version)
    return folder, parse_manifest((folder / MANIFEST).read_bytes(), folder.name)


def open_dataset(store: Place, version: str | None = None) -> Dataset:
    """Open a version of a store.

    Args:
        store: the folder or URL given to ``flux4d-build build --out``.
        version: hash or prefix of it; None is the newest build.

    Raises:
        FileNotFoundError: no such store or version.
        CorruptManifestError: manifest or index do not hash to the version.
    """
    folder, manifest = open_manifest(store, version)
    clips = read_index(folder, CLIPS_INDEX, manifest)
    members: dict[str, dict[str, Member]] = {}
    for row in read_index(folder, MEMBERS_INDEX, manifest):
        member = Member(**row)  # type: ignore[arg-type]
        members.setdefault(member.clip_id, {})[member.member] = member
    records = tuple(record_from_json(row) for row in clips)
    return Dataset(folder=folder, version=folder.name, manifest=manifest, records=records, members=members)


def read_index(folder: Path, name: str, manifest: Manifest) -> list[dict[str, object]]:
    """Rows of an index file, checked against the manifest; none when the version's schema did not have it.

    Raises:
        CorruptManifestError: missing, unreadable or not the rows that were written.
    """
    if name not in manifest.indexes:
        return []
    schema = index_schema(name, manifest.schema_version)
    try:
        rows = tables.from_parquet(schema, (folder / name).read_bytes())
    # What a damaged Parquet file raises has no common class: pyarrow's errors, OSError, UnicodeDecodeError.
    except Exception as error:
        raise CorruptManifestError(f"{folder / name}: {error}") from error
    if rows_hash(rows) != manifest.indexes[name]:
        raise CorruptManifestError(f"{folder / name}: rows are not those of the manifest")
    return migrate_rows(name, rows, manifest.schema_version)
