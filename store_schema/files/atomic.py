"""Atomic writes: files and folders are there whole or not at all (write aside, fsync, rename).

A remote object (see `store_schema.files.paths`) is written by one upload, which object stores make visible only when
it is complete.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store_schema.files.paths import (
    copy_object,
    files_below,
    filesystem,
    put_bytes,
    put_file,
    relative_name,
    remove_tree,
)

TEMPORARY_PREFIX = ".tmp-"
"""Names with this prefix are unfinished work; readers ignore them and a rerun removes them."""


def _temporary(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}-{path.name}")


def fsync_directory(path: Path) -> None:
    """Make renames inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary local path; on success it becomes `path`, on error it goes away."""
    if filesystem(path) is not None:
        with tempfile.TemporaryDirectory(prefix="flux4d-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            put_file(temporary, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    if filesystem(path) is not None:
        put_bytes(path, data)
        return
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the local `path`; on success it replaces `path`, on error it goes away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in files_below(temporary):
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        replace_directory(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_directory(source: Path, target: Path, last: str | None = None) -> None:
    """Rename the folder `source` to `target`; what was there is dropped.

    An object store has no rename: there every file is copied, the one named `last` after all others (its presence
    says that the folder is complete), and the source is deleted.
    """
    if filesystem(target) is not None:
        files = files_below(source)
        for file in sorted(files, key=lambda file: file.name == last):
            copy_object(file, target / relative_name(file, source))
        remove_tree(source)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        stale = _temporary(target)
        os.rename(target, stale)
        os.rename(source, target)
        shutil.rmtree(stale)
    else:
        os.rename(source, target)
    fsync_directory(target.parent)


def remove_litter(folder: Path) -> int:
    """Delete what killed writers left anywhere below the local `folder`; returns how many entries went."""
    if filesystem(folder) is not None or not folder.is_dir():
        return 0
    found = folder.rglob(f"{TEMPORARY_PREFIX}*")
    litter = [entry for entry in found if TEMPORARY_PREFIX not in relative_name(entry.parent, folder)]
    for entry in litter:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return len(litter)
