"""Keep a cache folder below its size limit while many threads and processes write into it.

Every file counts with what it takes on the disk: whole blocks, so an entry of 20 bytes counts 4096. Folders do not
count, nor what lies in another user's folders that cannot be listed.

No process knows what the others write, so each may write `max_bytes` / 128 before it looks at the folder again: it
takes the folder's lock, adds up what is there and lets the least recently used entries go. When another process holds
the lock, one more such share may be written; then nothing until a look succeeds. With one process the folder so holds
at most `max_bytes`, with P at most ``max_bytes + P * (max_bytes / 64 + 2 * largest entry)``.

What another user wrote is read, and counted, but need not be his to change who looks: what cannot be deleted stays.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from store_schema.cache.litter import is_dead, is_own, new_writer, unfinished_name
from store_schema.files.atomic import TEMPORARY_PREFIX

BLOCK = 4096
"""Bytes that a file's place on a disk is a multiple of, on all usual file systems."""
FAN_OUT = 2
"""Characters of a key that name its sub-folder."""
LOCK = ".lock"
SHARE = 128
"""The bound divided by what a process writes between two looks. A look costs a stat an entry; 128 looks while
the cache fills are far below the cost of writing it."""
KEEP = 0.9
"""Part of the bound that stays at an eviction, so that the next write does not evict again."""
LITTER_AGE = 3600.0
"""s after which an unfinished file of another machine belongs to a writer that was killed."""

_KEY = re.compile(rf"[0-9A-Za-z_-]{{{FAN_OUT}}}[0-9A-Za-z._-]{{0,198}}")


def is_key(name: str) -> bool:
    """Whether `name` can name an entry."""
    return _KEY.fullmatch(name) is not None


def on_disk(size: int) -> int:
    """Bytes that a file of `size` bytes takes."""
    return -(-size // BLOCK) * BLOCK


@dataclass(slots=True)
class _Listing:
    entries: list[tuple[float, int, str]]
    """Time of last use, bytes and path of every entry that can be let go."""
    fixed: int
    """Bytes of files that others are writing, and of entries in folders that are not ours to change."""

    @property
    def total(self) -> int:
        return self.fixed + sum(size for _, size, _ in self.entries)


class CacheSpace:
    """Says whether an entry may be written, and makes room for it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._share = 0  # bytes that may still be written before the next look
        self._second_share = True
        self._writing = 0  # bytes that threads of this process are writing now
        self._writer = new_writer()
        self.evicted = 0
        """Entries that this object let go."""

    def unfinished_name(self) -> str:
        """For a file that is being written: `_writing` counts it, a listing does not."""
        return unfinished_name(self._writer)

    def reserve(self, size: int) -> bool:
        """Whether a file of `size` bytes may be written now; if so, `release` must follow.

        Raises:
            OSError: the folder cannot be listed or locked.
        """
        needed = on_disk(size)
        if needed > self._max_bytes:
            return False
        with self._lock:
            if needed > self._share and not self._look(needed):
                return False
            self._share -= needed
            self._writing += needed
            return True

    def release(self, size: int) -> None:
        """The file of a `reserve` is in the folder, or never will be."""
        with self._lock:
            self._writing -= on_disk(size)

    def _look(self, needed: int) -> bool:
        """Start a new share that holds `needed`, with room made for it; False when that cannot be."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Whoever may write in the folder may lock it.
        lock = FileLock(self._folder / LOCK, mode=0o666)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            granted, self._second_share = self._second_share, False
            self._share = max(needed, self._max_bytes // SHARE) if granted else self._share
            return granted
        try:
            free = self._make_room(needed)
        finally:
            lock.release()
        self._second_share = True
        self._share = min(max(needed, self._max_bytes // SHARE), max(free, 0))
        return needed <= free

    def _make_room(self, needed: int) -> int:
        """Bytes free; if less than `needed` were, the least recently used entries are gone."""
        listing = _list_folder(self._folder, self._writer)
        total = listing.total + self._writing
        # Where no room can be made, to let entries go would only lose them.
        if total + needed <= self._max_bytes or listing.fixed + self._writing + needed > self._max_bytes:
            return self._max_bytes - total
        goal = min(int(KEEP * self._max_bytes), self._max_bytes - needed)
        for _, size, path in sorted(listing.entries):
            if total <= goal:
                break
            try:
                os.unlink(path)
                self.evicted += 1
            except FileNotFoundError:
                pass  # another process's loss, but room all the same
            except OSError:
                continue
            total -= size
        return self._max_bytes - total


def _list_folder(folder: Path, writer: str) -> _Listing:
    """Entries and unfinished files; litter of killed writers goes. Whatever is not the cache's own is left alone.

    What `writer` is writing is left out. What is gone meanwhile, or cannot be seen, counts for nothing.
    """
    listing = _Listing([], 0)
    oldest = time.time() - LITTER_AGE
    with os.scandir(folder) as children:
        parts = [child.path for child in children if len(child.name) == FAN_OUT and child.is_dir()]
    for part in parts:
        may_delete = os.access(part, os.W_OK | os.X_OK)
        with suppress(FileNotFoundError, PermissionError), os.scandir(part) as files:
            for file in files:
                with suppress(OSError):
                    if file.name.startswith(TEMPORARY_PREFIX):
                        listing.fixed += 0 if is_own(file.name, writer) else _unfinished(file, oldest)
                    elif is_key(file.name) and part.endswith(file.name[:FAN_OUT]):
                        _add_entry(file, may_delete, listing)
    return listing


def _add_entry(file: os.DirEntry[str], may_delete: bool, listing: _Listing) -> None:
    status = file.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        return
    if may_delete:
        listing.entries.append((status.st_mtime, _size(status), file.path))
    else:
        listing.fixed += _size(status)


def _unfinished(file: os.DirEntry[str], oldest: float) -> int:
    """Bytes of an unfinished file: 0 when its writer was killed, and it could be deleted."""
    status = file.stat(follow_symlinks=False)
    if status.st_mtime < oldest or is_dead(file.name):
        with suppress(OSError):
            os.unlink(file.path)
            return 0
    return _size(status)


def _size(status: os.stat_result) -> int:
    # Blocks alone would not do: some file systems tell them only when the bytes have left the memory.
    return max(on_disk(status.st_size), 512 * status.st_blocks)
