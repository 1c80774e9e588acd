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
from store_schema.cache.local_cache import LocalCache
from store_schema.clip import Clip, ClipRecord, NotHeldError
from store_schema.codec import TABLE_MEMBERS, ClipHeader, decode_clip, record_from_json
from store_schema.files.paths import Place, filesystem, folders_with, location, read_bytes
from store_schema.files.retry import ConnectionLostError, RetryPolicy
from store_schema.hashing import HASH_CHARS, hash_bytes
from store_schema.migrations import index_schema, migrate_rows
from store_schema.version.manifest import MANIFEST, CorruptManifestError, Manifest, parse_manifest, rows_hash
from store_schema.version.members import fetch_members
from store_schema.version.shards import Member

CLIPS_INDEX = "clips.parquet"
MEMBERS_INDEX = "members.parquet"
LOGS_INDEX = "logs.parquet"
INDEXES = (CLIPS_INDEX, MEMBERS_INDEX, LOGS_INDEX)
SHARDS = "shards"
LATEST = "LATEST"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version, opened for reading. Files are opened per read; without a cache it is cheap to pickle.

    Reads raise on the first damaged byte; `version.reader.ClipReader` can drop and count damaged clips instead.
    """

    folder: Path
    version: str
    manifest: Manifest
    records: tuple[ClipRecord, ...]
    """All clips, sorted by id."""
    members: Mapping[str, Mapping[str, Member]]
    """Clip id to member name to place."""
    cache: LocalCache | None = None
    """Where members of a remote store are kept, by their hash; the same content in two versions is kept once."""

    def select(self, split: str | None = None, setting: str | None = None) -> tuple[ClipRecord, ...]:
        """Records of one split and setting; None means any."""
        return tuple(
            record
            for record in self.records
            if (split is None or record.split == split) and (setting is None or record.setting == setting)
        )

    def read_member(self, clip_id: str, name: str) -> bytes:
        """One member's bytes; as `read_members` of one."""
        return self.read_members(clip_id, (name,))[name]

    def read_members(self, clip_id: str, names: Sequence[str]) -> dict[str, bytes]:
        """Members' bytes by name, each checked against its hash, whether it comes from the store or from the cache.

        Over a network, members that lie near each other come by one request, and only those that `cache` does not
        hold. What is not as it was written never enters the cache, and is not taken from it.

        Raises:
            NotHeldError: no such clip or member.
            CorruptShardError: the bytes are not what was written.
            ConnectionLostError: a remote store that did not answer.
            ValueError: a remote server that does not serve parts of files.
        """
        places = self._members_of(clip_id)
        try:
            wanted = [places[name] for name in dict.fromkeys(names)]
        except KeyError as error:
            raise NotHeldError(f"clip {clip_id} has no member {error.args[0]!r}; it has {sorted(places)}") from None
        shards = self.folder / SHARDS
        if self.cache is None or filesystem(self.folder) is None:
            return fetch_members(shards, wanted)
        by_hash = {member.blake3: member for member in wanted}

        def download(hashes: Sequence[str]) -> dict[str, bytes]:
            missing = [by_hash[key] for key in hashes]
            contents = fetch_members(shards, missing)
            return {member.blake3: contents[member.member] for member in missing}

        contents = self.cache.get_many(by_hash, download, lambda key, data: hash_bytes(data) == key)
        return {member.member: bytes(contents[member.blake3]) for member in wanted}

    def read(self, clip_id: str, cameras: Sequence[str] | None = None) -> Clip:
        """One clip, with the images of `cameras` (by `View.name`; all when None).

        Over a network, to choose costs a request more: the header says which member is whose.

        Raises:
            NotHeldError: no such clip.
            CorruptShardError: stored bytes are not what was written.
            ConnectionLostError: a remote store that did not answer.
        """
        names = tuple(self._members_of(clip_id))
        if cameras is None:
            return decode_clip(self.read_members(clip_id, names).__getitem__, names)
        members = self.read_members(clip_id, [name for name in names if name in TABLE_MEMBERS])
        views = ClipHeader.from_json(members["clip.json"]).views
        members |= self.read_members(clip_id, [view.member for view in views if view.name in cameras])
        return decode_clip(members.__getitem__, names, cameras)

    def _members_of(self, clip_id: str) -> Mapping[str, Member]:
        try:
            return self.members[clip_id]
        except KeyError:
            reason = f"no clip {clip_id!r} in version {self.version[:12]}; it has {len(self.records)}"
            raise NotHeldError(reason) from None


def version_folders(store: Path) -> list[Path]:
    """Folders of all complete versions of a store, sorted: those that hold a manifest under their own name."""
    found = folders_with(store / "versions", MANIFEST)
    return [folder for folder in found if not folder.name.startswith(".")]


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
    try:
        content = read_bytes(latest)
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"{latest} is missing: {advice}") from None
    version = content.decode("ascii", errors="replace").rstrip("\n")
    if re.fullmatch(f"[0-9a-f]{{{HASH_CHARS}}}", version) is None:
        raise CorruptManifestError(f"{latest} holds {version!r}, no version hash: {advice}")
    if version not in versions:
        raise FileNotFoundError(f"{latest} names version {version}, which has no {MANIFEST}: {advice}")
    return version


def open_manifest(
    store: Place, version: str | None = None, *, retry: RetryPolicy | None = None
) -> tuple[Path, Manifest]:
    """Folder and manifest of a version: what can be said of it without its indexes. `retry`: as `open_dataset`.

    Raises:
        FileNotFoundError: no such store or version.
        CorruptManifestError: the manifest does not hash to the version.
        ConnectionLostError: a remote store that did not answer.
    """
    place = location(store, retry=retry)
    folder = place / "versions" / resolve_version(place, version)
    return folder, parse_manifest(read_bytes(folder / MANIFEST), folder.name)


def open_dataset(
    store: Place,
    version: str | None = None,
    *,
    cache: LocalCache | None = None,
    retry: RetryPolicy | None = None,
) -> Dataset:
    """Open a version of a store.

    Args:
        store: the folder or URL given to ``flux4d-build build --out``.
        version: hash or prefix of it; None is the newest build.
        cache: keeps the members of clips of a remote store on this machine; a local store does not use it.
        retry: how patiently a remote store is read, now and by the dataset; None is as `store` has it
            (`store_schema.files.paths.location`), about 15 s for a URL.

    Raises:
        FileNotFoundError: no such store or version.
        CorruptManifestError: manifest or index do not hash to the version.
        ConnectionLostError: a remote store that did not answer.
    """
    folder, manifest = open_manifest(store, version, retry=retry)
    clips = read_index(folder, CLIPS_INDEX, manifest)
    members: dict[str, dict[str, Member]] = {}
    for row in read_index(folder, MEMBERS_INDEX, manifest):
        member = Member(**row)  # type: ignore[arg-type]
        members.setdefault(member.clip_id, {})[member.member] = member
    records = tuple(record_from_json(row) for row in clips)
    return Dataset(folder=folder, version=folder.name, manifest=manifest, records=records, members=members, cache=cache)


def read_index(folder: Path, name: str, manifest: Manifest) -> list[dict[str, object]]:
    """Rows of an index file, checked against the manifest; none when the version's schema did not have it.

    Raises:
        CorruptManifestError: missing, unreadable or not the rows that were written.
        ConnectionLostError: a remote store that did not answer.
    """
    if name not in manifest.indexes:
        return []
    schema = index_schema(name, manifest.schema_version)
    try:
        rows = tables.from_parquet(schema, read_bytes(folder / name))
    except ConnectionLostError:
        raise
    # What a damaged Parquet file raises has no common class: pyarrow's errors, OSError, UnicodeDecodeError.
    except Exception as error:
        raise CorruptManifestError(f"{folder / name}: {error}") from error
    if rows_hash(rows) != manifest.indexes[name]:
        raise CorruptManifestError(f"{folder / name}: rows are not those of the manifest")
    return migrate_rows(name, rows, manifest.schema_version)
