"""A bounded local cache of bytes by key, shared by threads, processes and runs: each object is made once.

    FOLDER/ab/abcd...   one entry, see `store_schema.cache.entry`
    FOLDER/.lock        held by the one process that lets old entries go, see `store_schema.cache.space`

Every read checks the hash. An entry that does not match (a flipped bit, a torn write, a foreign file) is counted,
deleted and made anew, never returned. One that cannot be read just now (no descriptor left, no permission, a failing
disk) is left where it is; the object is made. Reading and writing take no lock between processes.

A folder is meant for one user, or for users who trust each other: who may write into it may forge entries.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace
from os.path import exists
from pathlib import Path

from store_schema.cache.entry import DIGEST_BYTES, read_entry, write_entry
from store_schema.cache.space import BLOCK, FAN_OUT, CacheSpace, is_key

_log = logging.getLogger(__name__)
Content = bytes | memoryview
"""Of an object: what was made, or what was read. Read only by agreement: threads that waited for one key share one
memory, so who wants to write takes a copy. (A read one is not marked so, as tensors could not share it then.)"""
Makes = Callable[[Sequence[str]], Mapping[str, Content]]
"""The objects of the keys it is given, and perhaps others."""
Check = Callable[[str, Content], bool]
"""Whether an object is what its key stands for."""


@dataclass(slots=True)
class CacheCounts:
    """What a `LocalCache` did since it was made."""

    hits: int = 0
    """Objects that were in the folder, or that another thread made meanwhile."""
    misses: int = 0
    """Objects that were made."""
    damaged: int = 0
    """Entries whose bytes were not those written."""
    evicted: int = 0
    not_stored: int = 0
    """Made objects that were not kept: too large, no room, or the folder cannot be written."""
    bytes_read: int = 0
    """Bytes of the hits that were read from the folder."""
    bytes_written: int = 0


class LocalCache:
    """Byte objects by key, at most `max_bytes` of them on disk.

    Args:
        folder: a local folder, made when it is not there. Only entries are ever deleted in it.
        max_bytes: bound on the blocks that the entries take on the disk, the same for all that use the folder;
            `store_schema.cache.space` says how far several processes may pass it.

    Raises:
        ValueError: `max_bytes` is less than one block.
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        if max_bytes < BLOCK:
            raise ValueError(f"a cache needs room for at least one block of {BLOCK} bytes, got max_bytes = {max_bytes}")
        self.folder, self.max_bytes = Path(folder), max_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._counts = CacheCounts()
        self._lock = threading.Lock()
        self._making: dict[str, Future[Content]] = {}
        self._space = CacheSpace(self.folder, max_bytes)
        self._warned = False

    @property
    def counts(self) -> CacheCounts:
        """A snapshot."""
        with self._lock:
            return replace(self._counts, evicted=self._space.evicted)

    def get(self, key: str, make: Callable[[], Content]) -> Content:
        """The object of `key`; as `get_many` of one.

        Other threads may hold the same memory: it must not be written to.

        Raises:
            ValueError: `key` cannot name a file.
            Exception: what `make` raises.
        """
        return self.get_many((key,), lambda _: {key: make()})[key]

    def get_many(self, keys: Iterable[str], make: Makes, check: Check | None = None) -> dict[str, Content]:
        """The objects of `keys`; those that are nowhere come from one call of `make`, and are kept.

        Threads of this process that miss one key at the same time make it once. Processes may each make it: what a
        key stands for must not depend on who makes it. When the thread that makes an object fails, one of those that
        wait makes it next, by its own means: what went wrong for one may be no matter of another.

        Other threads may hold the same memory: it must not be written to.

        Args:
            keys: 2 to 200 of ``0-9 A-Z a-z _ - .``, no dot among the first two; best hashes, as the first two name
                the sub-folder.
            make: the objects of the keys it is given; what it raises is raised, and nothing is kept. Others that it
                gives besides, because they came by the way, are kept too.
            check: asked of every object that is read from the folder, besides the entry's own hash; one that fails
                is damaged.

        Raises:
            ValueError: a key cannot name a file.
            Exception: what `make` raises.
        """
        wanted = tuple(dict.fromkeys(keys))
        for key in wanted:
            if not is_key(key):
                raise ValueError(f"{key!r} cannot be a cache key: take 2 to 200 letters, digits, '_', '-'")
        found = self._read_all(wanted, check)
        while missing := [key for key in wanted if key not in found]:
            found |= self._obtain(missing, make, check)
        return found

    def _obtain(self, keys: Sequence[str], make: Makes, check: Check | None) -> dict[str, Content]:
        """Objects of `keys` that this thread made, or that other threads made meanwhile.

        An object that another thread failed to make is missing from the result; the caller asks again, and then
        whoever comes first makes it.
        """
        own: dict[str, Future[Content]] = {}
        others: dict[str, Future[Content]] = {}
        with self._lock:
            for key in keys:
                if key in self._making:
                    others[key] = self._making[key]
                else:
                    own[key] = self._making[key] = Future()
        try:
            # Another thread may have finished between the first look and the claim.
            found = self._read_all(own, check)
            for key, data in found.items():
                own[key].set_result(data)
            found |= self._make([key for key in own if key not in found], make, own)
        finally:
            with self._lock:
                for key in own:
                    del self._making[key]
            for future in own.values():
                # Those that wait for what this thread failed to make claim it anew.
                future.cancel()
        return found | self._await(others)

    def _make(self, keys: Sequence[str], make: Makes, claimed: Mapping[str, Future[Content]]) -> dict[str, Content]:
        """Make objects and keep them; the threads that wait for one get it before it is written."""
        if not keys:
            return {}
        answer = make(tuple(keys))
        made = {key: answer[key] for key in keys}
        with self._lock:
            self._counts.misses += len(made)
        for key, data in made.items():
            claimed[key].set_result(data)
        for key, data in answer.items():
            # `Path.exists` raises where a folder cannot be seen.
            if key in made or not exists(self._path(key)):
                self._store(key, data)
        return made

    def _await(self, others: Mapping[str, Future[Content]]) -> dict[str, Content]:
        """Objects that other threads are making; own ones are made by now, so no two threads wait for each other."""
        found: dict[str, Content] = {}
        for key, future in others.items():
            with suppress(CancelledError):
                found[key] = future.result()
        with self._lock:
            self._counts.hits += len(found)
        return found

    def _path(self, key: str) -> Path:
        return self.folder / key[:FAN_OUT] / key

    def _read_all(self, keys: Iterable[str], check: Check | None) -> dict[str, Content]:
        read = {key: self._read(key, check) for key in keys}
        found: dict[str, Content] = {key: data for key, data in read.items() if data is not None}
        with self._lock:
            self._counts.hits += len(found)
            self._counts.bytes_read += sum(map(len, found.values()))
        return found

    def _read(self, key: str, check: Check | None) -> memoryview | None:
        """The intact entry of a key; None when there is none that can be read, and then no damaged one either."""
        path = self._path(key)
        try:
            data = read_entry(path, key, self.max_bytes)
        except OSError:
            # Not there, or not to be read just now. Its bytes were not seen, so nothing is known against them.
            return None
        if data is not None and (check is None or check(key, data)):
            return data
        with self._lock:
            self._counts.damaged += 1
        with suppress(OSError):
            path.unlink()
        return None

    def _store(self, key: str, data: Content) -> None:
        """Keep an object if there is room; a folder that cannot be written is warned of once, and stops nothing."""
        size = len(data) + DIGEST_BYTES
        written = 0
        try:
            written = self._write(key, data, size)
        # Older releases of filelock say NotImplementedError where a file system has no locks.
        except (OSError, NotImplementedError) as error:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "the cache in %s cannot keep objects (%s): go on without; free space there or name another",
                    self.folder,
                    error,
                )
        with self._lock:
            self._counts.bytes_written += written
            self._counts.not_stored += not written

    def _write(self, key: str, data: Content, size: int) -> int:
        """Bytes written: 0 when there is no room."""
        if not self._space.reserve(size):
            return 0
        try:
            write_entry(self._path(key), key, data, self._space.unfinished_name())
        finally:
            self._space.release(size)
        return size
