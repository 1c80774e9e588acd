"""File format of one cache entry: the object's bytes, then the blake3 of key, NUL and these bytes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from blake3 import blake3

DIGEST_BYTES = 32
TOUCH_INTERVAL = 60.0
"""s between two notes of an entry's use: eviction need not know it better, and each costs a write."""


def read_entry(path: Path, key: str, largest: int) -> memoryview | None:
    """The object, in memory of its own, and a note of its use (the file's time).

    None when the file is not what was written for `key`.

    Args:
        path: the entry.
        key: whose object it is.
        largest: bytes of the largest file that can be an entry; of a larger one nothing is read.

    Raises:
        OSError: no such file, or it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not DIGEST_BYTES <= status.st_size <= largest:
            return None
        # Into memory that is not filled with zeros first, and that tensors may share.
        whole = memoryview(np.empty(status.st_size, np.uint8).data)
        filled = 0
        while part := file.readinto(whole[filled:]):
            filled += part
        if filled < len(whole):
            return None
        data = whole[:-DIGEST_BYTES]
        if whole[-DIGEST_BYTES:] != _digest(key, data):
            return None
        if abs(time.time() - status.st_mtime) > TOUCH_INTERVAL:
            with suppress(OSError):
                os.utime(file.fileno())
    return data


def write_entry(path: Path, key: str, data: bytes | memoryview, unfinished: str) -> None:
    """Write aside and rename: readers see no entry or a whole one. No fsync: a torn one is found by its hash.

    Args:
        path: the entry.
        key: whose object it is.
        data: the object.
        unfinished: name of the file meanwhile, beside the entry.

    Raises:
        OSError: the folder cannot be written; nothing is left there.
    """
    temporary = path.with_name(unfinished)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.write(_digest(key, data))
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _digest(key: str, data: bytes | memoryview) -> bytes:
    # The key is part of it, so that an entry under another's name is found out.
    return bytes(blake3(f"{key}\0".encode()).update(data).digest())
