"""Verify a version: read every byte and name what is not as it was written (file, shard, clip)."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from store_schema.files.atomic import TEMPORARY_PREFIX
from store_schema.files.paths import file_hash, files_below, read_bytes, read_range, relative_name
from store_schema.frame_store import CorruptFrameError, check_frame
from store_schema.hashing import hash_bytes
from store_schema.version.dataset import CLIPS_INDEX, INDEXES, MEMBERS_INDEX, SHARDS, read_index
from store_schema.version.manifest import MANIFEST, SCHEMA, CorruptManifestError, Manifest, parse_manifest
from store_schema.version.provenance import PROVENANCE, read_provenance
from store_schema.version.shards import CorruptShardError, Member, index_shard, tar_header

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One file that is not as it was written."""

    file: Path
    reason: str
    clips: tuple[str, ...] = ()
    """Clips that cannot be read, or all that the file describes."""

    def __str__(self) -> str:
        clips = f"; broken clips: {', '.join(self.clips)}" if self.clips else ""
        return f"{self.file}: {self.reason}{clips}"


def verify_version(folder: Path, progress: Progress = lambda done, total: None) -> Iterator[Problem]:
    """Compare every file of a version with its hash; nothing comes when all is well.

    Args:
        folder: ``STORE/versions/{hash}``; its name is the version.
        progress: for a progress bar.
    """
    manifest = _manifest(folder)
    if isinstance(manifest, Problem):
        yield manifest
        return
    indexes = _Indexes.read(folder, manifest)
    yield from indexes.problems
    yield from _unlisted(folder, manifest)
    for done, (name, expected) in enumerate(sorted(manifest.shards.items())):
        progress(done, len(manifest.shards))
        yield from _shard_problems(folder / SHARDS / name, str(expected["blake3"]), indexes)
    progress(len(manifest.shards), len(manifest.shards))


def verify_frames(store: Path, progress: Progress = lambda done, total: None) -> Iterator[Problem]:
    """Compare every stored frame with its hashes. Frames are no part of a version: a build makes damaged ones again.

    Args:
        store: the store.
        progress: for a progress bar.
    """
    paths = [path for path in files_below(store / "frames") if not path.name.startswith(TEMPORARY_PREFIX)]
    for done, path in enumerate(paths):
        progress(done, len(paths))
        try:
            check_frame(path)
        except CorruptFrameError as error:
            yield Problem(path, str(error).removeprefix(f"{path}: "))


def intact_shards(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Names of the shards that are there and hash to what the manifest says."""
    found = []
    for name, expected in sorted(manifest.shards.items()):
        path = folder / SHARDS / name
        if _hash(path) == expected["blake3"]:
            found.append(name)
    return tuple(found)


def _manifest(folder: Path) -> Manifest | Problem:
    path = folder / MANIFEST
    try:
        return parse_manifest(read_bytes(path), folder.name)
    except FileNotFoundError:
        return Problem(path, "missing, so the version is not complete")
    except (CorruptManifestError, ValueError) as error:
        return Problem(path, str(error))


@dataclass(frozen=True, slots=True)
class _Indexes:
    """What the indexes say of the shards, as far as they can be read."""

    members: Mapping[str, Sequence[Member]]
    """By shard, in order of their offset; empty when the member index is damaged."""
    clips: Mapping[str, Sequence[str]]
    """Clip ids by shard."""
    problems: tuple[Problem, ...]

    @classmethod
    def read(cls, folder: Path, manifest: Manifest) -> _Indexes:
        problems, rows = [], {}
        for name in INDEXES:
            try:
                rows[name] = read_index(folder, name, manifest)
            except CorruptManifestError as error:
                problems.append(Problem(folder / name, str(error)))
        damaged = {problem.file.name for problem in problems}
        problems += [problem for problem in _byte_problems(folder, manifest) if problem.file.name not in damaged]
        members: dict[str, list[Member]] = {}
        for row in rows.get(MEMBERS_INDEX, []):
            members.setdefault(str(row["shard"]), []).append(Member(**row))  # type: ignore[arg-type]
        clips: dict[str, list[str]] = {}
        for row in rows.get(CLIPS_INDEX, []):
            clips.setdefault(str(row["shard"]), []).append(str(row["clip_id"]))
        in_order = {shard: sorted(held, key=lambda member: member.offset) for shard, held in members.items()}
        return cls(in_order, clips, tuple(problems))


def _byte_problems(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Provenance, schema, and indexes whose rows are right and whose bytes are not (Parquet's own bookkeeping)."""
    try:
        provenance = read_provenance(folder)
        recorded: Mapping[str, str] = provenance.get("files", {})
        if manifest.schema_version >= 2 and provenance.get("version") != folder.name:
            yield Problem(folder / PROVENANCE, f"is of version {provenance.get('version')}")
            recorded = {}
        elif manifest.schema_version >= 2 and set(recorded) != set(manifest.indexes):
            yield Problem(folder / PROVENANCE, f"has hashes of {sorted(recorded)}, not of this version's indexes")
            recorded = {}
    except CorruptManifestError as error:
        yield Problem(folder / PROVENANCE, str(error))
        recorded = {}
    for name, expected in recorded.items():
        if _hash(folder / name) != expected:
            yield Problem(folder / name, "hash differs from the one recorded when it was written")
    if manifest.schema and (schema := _hash(folder / SCHEMA)) != manifest.schema:
        yield Problem(folder / SCHEMA, "missing" if schema is None else "hash differs from the manifest")


def _hash(path: Path) -> str | None:
    """blake3 of a file, None when it is missing. Asked of the file itself: whether it is there, a remote file system
    answers with no when it cannot be reached."""
    try:
        return file_hash(path)
    except (FileNotFoundError, IsADirectoryError):
        return None


def _unlisted(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    known = {MANIFEST, PROVENANCE, *manifest.indexes, *(f"{SHARDS}/{name}" for name in manifest.shards)}
    if manifest.schema:
        known.add(SCHEMA)
    for path in files_below(folder):
        if relative_name(path, folder) not in known:
            yield Problem(path, "is not part of the version")


def _shard_problems(path: Path, expected: str, indexes: _Indexes) -> Iterator[Problem]:
    clips = tuple(indexes.clips.get(path.name, ()))
    found = _hash(path)
    if found is None:
        yield Problem(path, "shard is missing", clips)
    elif found != expected:
        members = indexes.members.get(path.name, ())
        if not members:
            reason = "shard's hash differs from the manifest and no member index says where"
            yield Problem(path, reason, clips or _named_in(path))
            return
        damage = list(_damage(path, members))
        broken = tuple(dict.fromkeys(clip for clip, _ in damage))
        what = ", ".join(dict.fromkeys(where for _, where in damage[:4])) or "the end mark, behind all clips"
        yield Problem(path, f"shard's hash differs from the manifest, damaged: {what}", broken)


def _damage(path: Path, members: Sequence[Member]) -> Iterator[tuple[str, str]]:
    """(clip, what) for every member whose header, content or padding is not as it was written."""
    block = tarfile.BLOCKSIZE
    for member in members:
        padding = -member.size % block
        data = read_range(path, member.offset - block, block + member.size + padding)
        header, content, rest = data[:block], data[block : block + member.size], data[block + member.size :]
        if header != tar_header(f"{member.clip_id}.{member.member}", member.size):
            yield member.clip_id, f"tar header of {member.clip_id}.{member.member}"
        if hash_bytes(content) != member.blake3:
            yield member.clip_id, f"member {member.clip_id}.{member.member}"
        if rest != bytes(padding):
            yield member.clip_id, f"padding after {member.clip_id}.{member.member}"


def _named_in(path: Path) -> tuple[str, ...]:
    """Clips a damaged shard still names, when the index is lost too."""
    try:
        return tuple(dict.fromkeys(member.clip_id for member in index_shard(path).members))
    except (CorruptShardError, ValueError):
        return ()
