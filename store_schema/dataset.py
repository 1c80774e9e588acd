"""Open a dataset version and read clips by key, every byte checked against its hash.

Layout of a store::

    STORE/LATEST                            version hash of the newest build
    STORE/frames/{config key}/{log}.zarr    frame store
    STORE/versions/{hash}/manifest.json     the version; provenance.json beside it
    STORE/versions/{hash}/clips.parquet     clip index
    STORE/versions/{hash}/members.parquet   (clip, member) -> shard, offset, size, hash
    STORE/versions/{hash}/shards/*.tar      WebDataset shards
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from store_schema import tables
from store_schema.clip import Clip, ClipRecord
from store_schema.codec import decode_clip, record_from_json
from store_schema.hashing import hash_file
from store_schema.manifest import MANIFEST, CorruptManifestError, Manifest, parse_manifest, rows_hash
from store_schema.shards import CorruptShardError, Member, check_member

CLIPS_INDEX = "clips.parquet"
MEMBERS_INDEX = "members.parquet"
LATEST = "LATEST"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version, opened for reading. Cheap to pickle; files are opened per read."""

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
        path = self.folder / "shards" / member.shard
        try:
            with path.open("rb") as file:
                file.seek(member.offset)
                data = file.read(member.size)
        except FileNotFoundError as error:
            raise CorruptShardError(f"shard {path} is missing, clip {clip_id} cannot be read") from error
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

    def verify(self) -> Iterator[str]:
        """Read every shard and compare its hash; yields one line per problem, nothing when all is well."""
        for name, expected in sorted(self.manifest.shards.items()):
            path = self.folder / "shards" / name
            clips = [clip for clip, members in self.members.items() if any(m.shard == name for m in members.values())]
            if not path.is_file():
                yield f"{path}: missing, holds clips {clips}"
            elif hash_file(path) != expected["blake3"]:
                broken = [clip for clip in clips if not self._readable(clip)]
                yield f"{path}: hash differs from the manifest, broken clips {broken or 'none (padding)'}"

    def _readable(self, clip_id: str) -> bool:
        try:
            for name in self._members_of(clip_id):
                self.read_member(clip_id, name)
        except CorruptShardError:
            return False
        return True


def resolve_version(store: Path, version: str | None = None) -> str:
    """The full hash meant by `version` (a prefix is enough; None is the newest build).

    Raises:
        FileNotFoundError: no store, no version, or no match; says what is there.
    """
    versions = sorted(path.parent.name for path in (store / "versions").glob(f"*/{MANIFEST}"))
    if not versions:
        raise FileNotFoundError(f"{store} holds no dataset version: run flux4d-build build --root LOGS --out {store}")
    if version is None:
        latest = store / LATEST
        if not latest.is_file():
            raise FileNotFoundError(f"{latest} is missing: name one of the versions {[v[:12] for v in versions]}")
        version = latest.read_text().strip()
    matches = [name for name in versions if name.startswith(version)]
    if len(matches) != 1:
        found = [name[:12] for name in versions]
        raise FileNotFoundError(f"version {version!r} matches {len(matches)} of {found} in {store}")
    return matches[0]


def open_dataset(store: str | Path, version: str | None = None) -> Dataset:
    """Open a version of a store.

    Args:
        store: the folder given to ``flux4d-build build --out``.
        version: hash or prefix of it; None is the newest build.

    Raises:
        FileNotFoundError: no such store or version.
        CorruptManifestError: manifest or index do not hash to the version.
    """
    store = Path(store)
    version = resolve_version(store, version)
    folder = store / "versions" / version
    manifest = parse_manifest((folder / MANIFEST).read_bytes(), version)
    clips = read_index(folder, CLIPS_INDEX, manifest)
    members: dict[str, dict[str, Member]] = {}
    for row in read_index(folder, MEMBERS_INDEX, manifest):
        member = Member(**row)  # type: ignore[arg-type]
        members.setdefault(member.clip_id, {})[member.member] = member
    records = tuple(record_from_json(row) for row in clips)
    return Dataset(folder=folder, version=version, manifest=manifest, records=records, members=members)


def read_index(folder: Path, name: str, manifest: Manifest) -> list[dict[str, object]]:
    """Rows of an index file, checked against the manifest.

    Raises:
        CorruptManifestError: missing, unreadable or not the rows that were written.
    """
    schema = {CLIPS_INDEX: tables.CLIPS, MEMBERS_INDEX: tables.MEMBERS}[name]
    try:
        rows = tables.from_parquet(schema, (folder / name).read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptManifestError(f"{folder / name}: {error}") from error
    if rows_hash(rows) != manifest.indexes[name]:
        raise CorruptManifestError(f"{folder / name}: rows are not those of the manifest")
    return rows
