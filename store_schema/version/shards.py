"""Deterministic WebDataset shards: the same samples give the same tar bytes, and reads are by offset.

Plain POSIX ustar with fixed headers (mtime 0, uid = gid = 0, mode 0644, no names), members of a sample
adjacent and in the order written, no compression around the tar. ``webdataset`` reads it as it is.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from store_schema.files.atomic import atomic_file
from store_schema.files.paths import read_bytes
from store_schema.hashing import hash_bytes, hash_file


class CorruptShardError(RuntimeError):
    """Stored bytes are not the bytes that were written: names shard, clip and member."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where one member's content lies and what it hashes to."""

    clip_id: str
    member: str
    shard: str
    offset: int
    size: int
    blake3: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A written shard."""

    name: str
    size: int
    blake3: str
    members: tuple[Member, ...]


def tar_header(name: str, size: int) -> bytes:
    """The one header block a member of this name and size has in our shards."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, 0, 0o644
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info.tobuf(format=tarfile.USTAR_FORMAT)


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> Shard:
    """Write samples ``(clip_id, {member: bytes})`` atomically.

    Raises:
        ValueError: a key with a dot (WebDataset ends the key at the first dot) or two samples of one key.
    """
    members: list[Member] = []
    seen: set[str] = set()
    with atomic_file(path) as temporary:
        with temporary.open("wb") as file:
            for clip_id, contents in samples:
                if "." in clip_id or clip_id in seen:
                    raise ValueError(f"sample key {clip_id!r} has a dot or comes twice in shard {path.name}")
                seen.add(clip_id)
                for name in sorted(contents):
                    data = contents[name]
                    file.write(tar_header(f"{clip_id}.{name}", len(data)))
                    members.append(Member(clip_id, name, path.name, file.tell(), len(data), hash_bytes(data)))
                    file.write(data)
                    file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
            file.write(bytes(2 * tarfile.BLOCKSIZE))
        digest, size = hash_file(temporary), temporary.stat().st_size
    return Shard(path.name, size, digest, tuple(members))


def index_shard(path: Path) -> Shard:
    """Rebuild a shard's member list from the tar alone.

    Raises:
        CorruptShardError: the tar cannot be read to its end mark.
    """
    members = []
    data = read_bytes(path)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for info in tar:
                clip_id, _, name = info.name.partition(".")
                content = data[info.offset_data : info.offset_data + info.size]
                members.append(Member(clip_id, name, path.name, info.offset_data, info.size, hash_bytes(content)))
    except tarfile.TarError as error:
        raise CorruptShardError(f"shard {path}: {error}") from error
    block = tarfile.BLOCKSIZE
    end = max((-(-(member.offset + member.size) // block) * block for member in members), default=0)
    if data[end:] != bytes(2 * block):
        raise CorruptShardError(f"shard {path}: no end mark, the file is truncated or was added to")
    return Shard(path.name, len(data), hash_bytes(data), tuple(members))


def check_member(data: bytes, member: Member) -> bytes:
    """`data` if it is what was written.

    Raises:
        CorruptShardError: it is not.
    """
    if len(data) != member.size:
        reason = f"{len(data)} bytes instead of {member.size}"
    elif hash_bytes(data) != member.blake3:
        reason = "the content's hash is not the one in the index"
    else:
        return data
    raise CorruptShardError(f"shard {member.shard}, clip {member.clip_id}, member {member.member}: {reason}")
