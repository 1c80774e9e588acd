"""Keep a folder of cache entries below its bound while many threads and processes write into it.

No process knows what the others write, so each may write `max_bytes` / 128 before it looks at the folder again: it
takes the folder's lock, adds up what is there and lets the least recently used entries go. When another process holds
the lock, one more such share may be written; then nothing until a look succeeds. With one process the folder so holds
at most `max_bytes`, with P at most ``max_bytes + P * (max_bytes / 64 + 2 * largest entry)``.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from store_schema.atomic import TEMPORARY_PREFIX

FAN_OUT = 2
"""Characters of a key that name its sub-folder."""
LOCK = ".lock"
SHARE = 128
"""The bound divided by what a process writes between two looks. A look costs a stat an entry; 128 looks while
the cache fills are far below the cost of writing it."""
KEEP = 0.9
"""Part of the bound that stays at an eviction, so that the next write does not evict again."""
LITTER_AGE = 3600.0
"""s after which an unfinished file belongs to a writer that was killed."""

_KEY = re.compile(rf"[0-9A-Za-z_-]{{{FAN_OUT}}}[0-9A-Za-z._-]{{0,198}}")


def is_key(name: str) -> bool:
    """Whether `name` can name an entry."""
    return _KEY.fullmatch(name) is not None


@dataclass(slots=True)
class _Listing:
    entries: list[tuple[float, int, str]]
    """Time of last use, bytes and path of every entry."""
    unfinished: int
    """Bytes of files that are being written."""

    @property
    def total(self) -> int:
        return self.unfinished + sum(size for _, size, _ in self.entries)


class CacheSpace:
    """Says whether an entry may be written, and makes room for it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()
        self._share = 0  # bytes that may still be written before the next look
        self._second_share = True
        self._writing = 0  # bytes that threads of this process are writing now
        self.evicted = 0
        """Entries that this object let go."""

    def reserve(self, size: int) -> bool:
        """Whether `size` bytes may be written now; if so, `release` must follow.

        Raises:
            OSError: the folder cannot be listed or locked.
        """
        with self._lock:
            if size > self._share and not self._look(size):
                return False
            self._share -= size
            self._writing += size
            return True

    def release(self, size: int) -> None:
        """The bytes of a `reserve` are in the folder, or never will be."""
        with self._lock:
            self._writing -= size

    def _look(self, size: int) -> bool:
        """Start a new share that holds `size`, with room made for it; False when that cannot be."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            granted, self._second_share = self._second_share, False
            self._share = max(size, self._max_bytes // SHARE) if granted else self._share
            return granted
        try:
            free = self._make_room(size)
        finally:
            lock.release()
        self._second_share = True
        self._share = min(max(size, self._max_bytes // SHARE), max(free, 0))
        return size <= free

    def _make_room(self, size: int) -> int:
        """Bytes free; if less than `size` were, the least recently used entries are gone."""
        listing = _list_folder(self._folder)
        total = listing.total + self._writing
        if total + size <= self._max_bytes:
            return self._max_bytes - total
        goal = min(int(KEEP * self._max_bytes), self._max_bytes - size)
        for _, entry_size, path in sorted(listing.entries):
            if total <= goal:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
                self.evicted += 1
            total -= entry_size
        return self._max_bytes - total


def _list_folder(folder: Path) -> _Listing:
    """Entries and unfinished files; litter of killed writers goes. Whatever is not the cache's own is left alone."""
    listing = _Listing([], 0)
    oldest = time.time() - LITTER_AGE
    with os.scandir(folder) as children:
        parts = [child.path for child in children if len(child.name) == FAN_OUT and child.is_dir()]
    for part in parts:
        # What went meanwhile counts for nothing.
        with suppress(FileNotFoundError), os.scandir(part) as files:
            for file in files:
                with suppress(FileNotFoundError):
                    _list_file(file, part, oldest, listing)
    return listing


def _list_file(file: os.DirEntry[str], part: str, oldest: float, listing: _Listing) -> None:
    status = file.stat(follow_symlinks=False)
    if file.name.startswith(TEMPORARY_PREFIX):
        if status.st_mtime < oldest:
            os.unlink(file.path)
        else:
            listing.unfinished += status.st_size
    elif is_key(file.name) and part.endswith(file.name[:FAN_OUT]) and file.is_file(follow_symlinks=False):
        listing.entries.append((status.st_mtime, status.st_size, file.path))
